"""The stage tokenize against the bare tokenizer on the same texts, and its memory at two numbers of rows.

    python -m benchmarks.tokenization [--rows 40000] [--rounds 5]

Takes texts, model and settings from the project in the current folder, after `dvc repro`.
"""

import contextlib
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measure import Ratio, median_seconds, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.rows.tokens import load_tokenizer
from finetune.sources.bounds import BATCH
from finetune.sources.raw_rows import SCHEMA
from finetune.splitting import raw
from finetune.splitting.keys import text_key
from finetune.splitting.raw import raw_batches, raw_files
from stages import tokenize

ROWS = 40_000  # eight batches of the stage: enough that fixed costs are small against the cost per row
ROUNDS = 5
GROWTH = 4  # times as many rows for the second measurement of memory

# The peak of this process alone: ru_maxrss would start with that of the process which starts it.
PEAK = """
import re
from pathlib import Path
from stages import tokenize

tokenize.main()
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def texts_and_labels(rows: int) -> list[tuple[str, str]]:
    """Rows of the project that the stage keeps, repeated; a number in front makes a repeated text a new one."""
    if not raw_files(tokenize.RAW):
        raise UserError("data/raw holds no rows; run `dvc repro` first")
    labels = json.loads((tokenize.RAW / "source.json").read_text(encoding="utf-8"))["labels"]
    # By key, because the stage keeps one row of each text: both sides must tokenise the same rows.
    known: dict[int, tuple[str, str]] = {}
    for _, batch in raw_batches(tokenize.RAW):
        for text, label in zip(batch.column("text").to_pylist(), batch.column("label").to_pylist(), strict=True):
            if label in labels and (key := text_key(text)):
                known.setdefault(key, (text, label))
    again = ((f"{number} {text}", label) for number in itertools.count(1) for text, label in known.values())
    return list(itertools.islice(itertools.chain(known.values(), again), rows))


@contextlib.contextmanager
def scratch_project(rows: int) -> Iterator[list[str]]:
    """The current folder is, inside the block, one with this many raw rows; gives their texts."""
    project = Path.cwd()
    pairs = texts_and_labels(rows)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for path in (tokenize.RAW, tokenize.BASE.parent):
            path.mkdir(parents=True)
        tokenize.BASE.symlink_to(project / tokenize.BASE)
        shutil.copy(project / "params.yaml", "params.yaml")
        shutil.copy(project / tokenize.RAW / "source.json", tokenize.RAW)
        texts, labels = (list(column) for column in zip(*pairs, strict=True))
        columns = pa.table([texts, labels, [None] * len(texts)], schema=SCHEMA)
        pq.write_table(columns, tokenize.RAW / "all.parquet", row_group_size=BATCH)
        yield texts


def speed(rows: int, rounds: int) -> Ratio:
    """Rows a second of the whole stage, including reading and writing, against the bare tokenizer."""
    with scratch_project(rows) as texts:
        bare = load_tokenizer(tokenize.BASE).backend_tokenizer
        bare.no_truncation()
        bare.no_padding()

        def stage():
            with contextlib.redirect_stdout(io.StringIO()):
                tokenize.main()

        def tokenizer():
            # In the stage's batches: encoding all rows at once takes longer, because it fills more memory.
            for start in range(0, len(texts), raw.BATCH):
                bare.encode_batch_fast(texts[start : start + raw.BATCH])

        spent = median_seconds({"stage": stage, "tokenizer": tokenizer}, rounds)
    return Ratio(
        "stage tokenize beside the bare tokenizer", rows / spent["stage"], rows / spent["tokenizer"], "rows/s", ">= 0.5"
    )


def peak_memory(rows: int) -> float:
    """Peak memory of the stage in its own process, in MB."""
    with scratch_project(rows):
        here = os.environ | {"PYTHONPATH": str(Path(tokenize.__file__).parents[1])}
        done = subprocess.run([sys.executable, "-c", PEAK], env=here, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1]) * 1024 / 1e6


def ratios(rows: int = ROWS, rounds: int = ROUNDS) -> list[Ratio]:
    """All that this benchmark measures."""
    found = [speed(rows, rounds)]
    if Path("/proc/self/status").exists():
        small, large = (peak_memory(count) for count in (rows, GROWTH * rows))
        found.append(Ratio(f"peak memory of tokenize, {GROWTH} times the rows", large, small, "MB", "<= 1.1"))
    return found


def main():
    parser = Parser(prog="python -m benchmarks.tokenization", description="Measure the stage tokenize.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
