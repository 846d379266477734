"""The server under load against a plain FastAPI application around `transformers.pipeline`, on the same texts.

    python -m benchmarks.serving [--seconds 8] [--rounds 3] [--levels 1 8 32 128]

Takes model and texts (of the test rows) from the project in the current folder, after `dvc repro`. The clients
are locust's. Servers take turns; each result is the median over the rounds. A failed request ends the benchmark.
"""

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import pyarrow.parquet as pq

from benchmarks.measure import Ratio, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.rows.stored import TOKENIZED
from finetune.runtime.classifier import EXPORTED
from finetune.serve.__main__ import listening

LEVELS = (1, 8, 32, 128)  # connections
SECONDS = 8  # of each measurement; at the slowest level some hundred requests
ROUNDS = 3
START = 120  # seconds a server may take to come up
HERE = Path(__file__).parent
OURS = [sys.executable, "-m", "finetune.serve", "--port"]
PLAIN = [sys.executable, "-m", "uvicorn", "--log-level", "warning", "--factory"]
PLAIN += ["benchmarks.plain_server:create_app", "--port"]


class Load(NamedTuple):
    """Result of one measurement: requests a second, and milliseconds to the answer."""

    rate: float
    p50: float
    p99: float


def free_port() -> int:
    """A port at which nothing listens."""
    with listening("127.0.0.1", 0) as opened:
        return opened.getsockname()[1]


@contextlib.contextmanager
def started(command: Sequence[str], folder: Path) -> Iterator[str]:
    """Address of a server that runs inside the block."""
    port = free_port()
    environment = os.environ | {"MODEL": str(folder), "SERVE_FOLDER": str(folder)}
    environment |= {"PYTHONPATH": str(HERE.parent), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen([*command, str(port)], env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            address = f"http://127.0.0.1:{port}"
            wait_for(process, f"{address}/docs")
            yield address
        finally:
            process.terminate()


def wait_for(process: subprocess.Popen, address: str):
    """Returns once the address answers; raises UserError if it never does."""
    deadline = time.monotonic() + START
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(URLError, ConnectionError):
            urlopen(address, timeout=START).close()
            return
        time.sleep(0.1)
    raise UserError(f"a server did not start within {START} seconds; run `dvc repro` first, and see its output above")


def percentile(times: dict[str, int], share: float) -> float:
    """Milliseconds that this share of the requests did not exceed; `times` counts requests by their milliseconds.

    >>> percentile({"3": 98, "7": 1, "50": 1}, 0.99)
    7.0
    """
    left = share * sum(times.values())
    for milliseconds in sorted(map(float, times)):
        left -= next(count for name, count in times.items() if float(name) == milliseconds)
        if left <= 0:
            return milliseconds
    raise AssertionError("shares end at 1")


def load(address: str, texts: Path, connections: int, seconds: float) -> Load:
    """Load of this many clients in this many seconds; raises UserError if a request failed."""
    command = [sys.executable, "-m", "locust", "-f", str(HERE / "load.py"), "--headless", "--json", "--only-summary"]
    command += ["--host", address, "--users", str(connections), "--spawn-rate", str(min(connections, 100))]
    command += ["--run-time", f"{seconds:g}s", "--loglevel", "ERROR", "--skip-log", "--exit-code-on-error", "0"]
    environment = os.environ | {"TEXTS": str(texts)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    (summary,) = json.loads(done.stdout)
    if summary["num_failures"] or not summary["num_requests"]:
        raise UserError(
            f"{summary['num_failures']} of {summary['num_requests']} requests failed with {connections} connections"
        )
    spent = summary["last_request_timestamp"] - summary["start_time"]
    times = summary["response_times"]
    return Load(summary["num_requests"] / spent, percentile(times, 0.5), percentile(times, 0.99))


def ratios(seconds: float = SECONDS, rounds: int = ROUNDS, levels: Sequence[int] = LEVELS) -> list[Ratio]:
    """All that this benchmark measures."""
    if importlib.util.find_spec("locust") is None:
        raise UserError("locust is not installed; `make bench` installs it, or pip install -r requirements-dev.txt")
    folder = EXPORTED.resolve()
    rows = []
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        texts = scratch / "texts.json"
        texts.write_text(json.dumps(pq.read_table(TOKENIZED / "test.parquet").column("text").to_pylist()))
        servers = [stack.enter_context(started(command, folder)) for command in (OURS, PLAIN)]
        for level in levels:
            taken = [[load(server, texts, level, seconds) for server in servers] for _ in range(rounds)]
            ours, plain = (
                Load(*map(statistics.median, zip(*loads, strict=True))) for loads in zip(*taken, strict=True)
            )
            what = f"{level} connection{'s' if level > 1 else ''}"
            rows += [
                Ratio(f"served, {what}: requests", ours.rate, plain.rate, "1/s", ">= 2"),
                Ratio(f"served, {what}: p50", ours.p50, plain.p50, "ms", "<= 0.5"),
                Ratio(f"served, {what}: p99", ours.p99, plain.p99, "ms", ""),
            ]
    return rows


def main():
    parser = Parser(prog="python -m benchmarks.serving", description="Measure the server under load.")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS)
    print(table(ratios(**vars(parser.parse_args()))))
    print("no request failed")


if __name__ == "__main__":
    raise SystemExit(run(main))
