"""The whole pipeline on many rows: seconds and peak memory of each stage, compared with those on fewer rows.

    python -m benchmarks.scale [--rows 1000000] [--fewer 100000] [--steps 50] [--stages download tokenize]

The rows are the texts of the project in the current folder, recombined: texts of about 45 tokens, each once. Training makes
`--steps` steps (`train.max_steps`) and one validation. A million rows take about half an hour on two cores.
"""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from ruamel.yaml import YAML
from tabulate import tabulate

from benchmarks.measure import Ratio, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.files import read_json

ROWS, FEWER, STEPS = 1_000_000, 100_000, 50
SEED = 42
SHARE = 0.75  # of a second text's words: texts of 27 tokens give ones of 45
STAGES = ("download", "tokenize", "baseline_eval", "teach", "train", "evaluate", "export")
MOST_GROWTH = {"train": 1.3}  # of the peak memory, for ten times the rows
OTHERS_GROWTH = 1.5
POLL = 0.05  # seconds
CODE = Path(__file__).parents[1]
# Inputs of the stages other than data, model and parameters; `train` hashes its dependencies.
COPIED = ("dvc.yaml", ".dvcignore", "stages", "finetune", "requirements.txt", "requirements-export.txt")

STAGE = """
import re, runpy, sys
from pathlib import Path

try:
    runpy.run_module("stages." + sys.argv.pop(1), run_name="__main__")
finally:
    print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


class Cost(NamedTuple):
    """What one stage took: wall time in seconds, and the peak memory of all its processes in MB."""

    seconds: float
    megabytes: float


def recombined(texts: np.ndarray, labels: np.ndarray, groups: np.ndarray, rows: int) -> pa.Table:
    """`rows` different texts, each a text and the start of another one with the same label; it keeps the first one's group.

    The three arrays hold strings, one for each text.
    """
    random = np.random.default_rng(SEED)
    members = {label: np.flatnonzero(labels == label) for label in np.unique(labels)}
    most = sum(len(own) ** 2 for own in members.values())
    if rows > most:
        raise UserError(f"--rows must be at most {most}, the pairs of these texts, found {rows}")
    starts = np.array([" ".join(text.split()[: max(1, round(SHARE * len(text.split())))]) for text in texts], object)
    first, second = [], []
    for number, (own, count) in enumerate(zip(members.values(), shares(members, rows), strict=True)):
        pairs = np.random.default_rng([SEED, number]).choice(len(own) ** 2, count, replace=False)
        first.append(own[pairs // len(own)])
        second.append(own[pairs % len(own)])
    order = random.permutation(rows)
    first, second = np.concatenate(first)[order], np.concatenate(second)[order]
    return pa.table(
        {
            "text": pa.array(texts[first] + " " + starts[second], pa.string()),
            "label": pa.array(labels[first], pa.string()),
            "group": pa.array(groups[first], pa.string()),
        }
    )


def shares(members: dict[str, np.ndarray], rows: int) -> list[int]:
    """How many rows each label gets: in proportion to its texts, `rows` in all."""
    ends = np.cumsum([len(own) for own in members.values()])
    return np.diff(np.round(ends / ends[-1] * rows), prepend=0).astype(int).tolist()


def project_texts(project: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts, raw labels and groups of a project's rows, without those that `tokenize` leaves out."""
    files = sorted(project.glob("data/raw/*.parquet"))
    if not files:
        raise UserError("data/raw holds no rows; run `dvc repro` first")
    known = read_json(project / "data/raw/source.json")["labels"]
    rows = pa.concat_tables(pq.read_table(path) for path in files).to_pylist()
    kept = {row["text"]: row for row in rows if row["label"] in known and (row["text"] or "").strip()}
    return tuple(np.array([row[name] for row in kept.values()], object) for name in ("text", "label", "group"))


def write_project(project: Path, folder: Path, rows: int, steps: int):
    """A project in `folder` with the settings of `project`, that many rows in data/local/, and a training of `steps` steps."""
    for path in (*(CODE / name for name in COPIED), project / "params.yaml"):
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
    (folder / "benchmarks").mkdir()
    shutil.copy(CODE / "benchmarks/speed.json", folder / "benchmarks")
    texts, labels, groups = project_texts(project)
    local = folder / "data/local/recombined.parquet"
    local.parent.mkdir(parents=True)
    pq.write_table(recombined(texts, labels, groups, rows), local, row_group_size=10_000)
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    grouped = any(group is not None for group in groups)
    params["data"] |= {
        "uri": "data/local/recombined.parquet",
        "sha256": None,
        "text": "text",
        "label": "label",
        "group": "group" if grouped else None,
    }
    params["model"] |= {"uri": str(project.resolve() / "models/base")}
    # One precision for both numbers of rows: `auto` may choose another one, with another memory, on busy cores.
    params["train"] |= {"max_steps": steps, "precision": "fp32"}
    yaml.dump(params, folder / "params.yaml")


def stage_cost(stage: str, folder: Path) -> Cost:
    """Runs a stage in a project's folder. Raises UserError if it fails."""
    started, peak = time.perf_counter(), 0
    with (folder / f"{stage}.log").open("w+", encoding="utf-8") as log:
        process = psutil.Popen([sys.executable, "-c", STAGE, stage], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(POLL)
        seconds = time.perf_counter() - started
        log.seek(0)
        output = log.read().strip()
    if process.returncode:
        raise UserError(f"{stage} failed: {output[-500:]}")
    own = int(re.search(r"\d+$", output)[0]) * 1024
    return Cost(seconds, max(own, peak) / 1e6)


def resident(process: psutil.Process) -> int:
    """Bytes that a process and those it started hold in memory; pages that they share count for each."""
    size = 0
    with contextlib.suppress(psutil.Error):
        for part in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                size += part.memory_info().rss
    return size


def costs(rows: int, steps: int, stages: Sequence[str]) -> Iterator[tuple[str, Cost]]:
    """Each of the stages with its cost on that many rows, in a project of its own."""
    project = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_project(project, folder, rows, steps)
        for stage in stages:
            cost = stage_cost(stage, folder)
            print(f"{stage}, {rows:,} rows: {cost.seconds:.0f} s, {cost.megabytes:.0f} MB", file=sys.stderr, flush=True)
            yield stage, cost


def ratios(rows: int = ROWS, fewer: int = FEWER, steps: int = STEPS, stages: Sequence[str] = STAGES) -> list[Ratio]:
    """Peak memory of each stage on many rows against that on fewer; prints the seconds of each."""
    small, large = (dict(costs(count, steps, stages)) for count in (fewer, rows))
    lines = [[stage, *(f"{cost[stage].seconds:,.0f}" for cost in (small, large))] for stage in stages]
    print(tabulate(lines, ["seconds", f"{fewer:,} rows", f"{rows:,} rows"], disable_numparse=True) + "\n")
    return [
        Ratio(
            f"peak memory of {stage}, {rows:,} rows beside {fewer:,}",
            large[stage].megabytes,
            small[stage].megabytes,
            "MB",
            f"<= {MOST_GROWTH.get(stage, OTHERS_GROWTH)}",
        )
        for stage in stages
    ]


def main():
    parser = Parser(prog="python -m benchmarks.scale", description="Measure the whole pipeline on many rows.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--fewer", type=int, default=FEWER, help="number of rows that memory is compared with")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps of the training")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help="the first of them, in order")
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
