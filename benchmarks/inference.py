"""The exported model through onnxruntime beside transformers.pipeline: one short text, many, start, memory, labels.

    python -m benchmarks.inference [--threads 2] [--rounds 3] [--calls 200]

Takes the model and the test rows from the project in the current folder, after `dvc repro`. Both sides compute with
the same number of threads and take turns; in bulk the pipeline has the best of three batch sizes.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from transformers import pipeline

from benchmarks.measure import Ratio, median_seconds, table
from finetune.classifier import Classifier
from finetune.encoder import loading
from finetune.errors import UserError, run
from finetune.rows import read_rows
from stages.export import EXPORT, METRICS, PREDICTIONS

THREADS = 2
ROUNDS = 3
CALLS = 200
SHORT = 16  # tokens
BATCHES = (1, 8, 32)  # of the pipeline
TRIED = 256  # rows to find its best one with

# The peak of each process alone: ru_maxrss would start with that of the process which starts it.
PEAK = """
import sys
from pathlib import Path
found = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(found, file=sys.stderr)
"""
PREDICT = "from finetune import predict\npredict.main()\n"
PIPELINE = """
import csv, json, sys
import torch
from transformers import pipeline
torch.set_num_threads(int(sys.argv[2]))
classify = pipeline("text-classification", model=sys.argv[1], truncation=True, top_k=None)
if len(sys.argv) > 4:
    with open(sys.argv[4], newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    print(len(classify(texts, batch_size=8)))
else:
    print(json.dumps(classify(sys.argv[3])))
"""


def short_text(rows) -> str:
    """The first test text of 16 tokens, or of the length that comes nearest."""
    return rows["text"][int(np.argmin([abs(len(ids) - SHORT) for ids in rows["input_ids"]]))]


def speeds(rows, threads: int, rounds: int, calls: int) -> list[Ratio]:
    """Short texts and rows a second, in one process."""
    torch.set_num_threads(threads)
    with loading(EXPORT):
        piped = pipeline("text-classification", model=str(EXPORT), truncation=True, top_k=None, dtype=torch.float32)
    ours, short, texts = Classifier(EXPORT, threads=threads), short_text(rows), rows["text"][:]
    one = median_seconds({"ours": lambda: ours.probabilities([short]), "pipeline": lambda: piped(short)}, calls)
    tried = median_seconds({size: lambda size=size: piped(texts[:TRIED], batch_size=size) for size in BATCHES}, 1)
    best = min(tried, key=tried.get)
    bulk = median_seconds(
        {"ours": lambda: ours.probabilities(texts), "pipeline": lambda: piped(texts, batch_size=best)}, rounds
    )
    return [
        Ratio("one short text, beside transformers.pipeline", 1 / one["ours"], 1 / one["pipeline"], "texts/s", ">= 5"),
        Ratio(
            f"test rows in bulk, beside the pipeline in batches of {best}",
            len(texts) / bulk["ours"],
            len(texts) / bulk["pipeline"],
            "rows/s",
            ">= 2.5",
        ),
    ]


def process(script: str, *arguments) -> subprocess.CompletedProcess:
    """A script in a process of its own; raises UserError when it fails."""
    here = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=here, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"a process that was to be measured failed: {done.stderr.strip()[-300:]}")
    return done


def processes(rows, threads: int, rounds: int) -> list[Ratio]:
    """Seconds of a process that answers one text, and the peak memory of one that answers all test rows."""
    short = short_text(rows)
    options = ("--model", EXPORT, "--threads", threads)
    spent = median_seconds(
        {
            "ours": lambda: process(PREDICT, *options, short),
            "pipeline": lambda: process(PIPELINE, EXPORT, threads, short),
        },
        rounds,
    )
    found = [Ratio("process that answers one text", spent["ours"], spent["pipeline"], "s", "< 1 s")]
    if Path("/proc/self/status").exists():
        with tempfile.TemporaryDirectory() as name:
            source, output = Path(name) / "in.csv", Path(name) / "out.parquet"
            with source.open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([["text"], *([text] for text in rows["text"])])
            ours = process(PREDICT + PEAK, *options, "--input", source, "--output", output)
            theirs = process(PIPELINE + PEAK, EXPORT, threads, short, source)
        peaks = [int(done.stderr.split()[-1]) * 1024 / 1e6 for done in (ours, theirs)]
        found.append(Ratio("peak memory over all test rows", *peaks, "MB", "< 300 MB"))
    return found


def agreement(rows, threads: int) -> Ratio:
    """Share of the test rows that get the evaluated label from their text, beside what `export` recorded."""
    classifier = Classifier(EXPORT, threads=threads)
    evaluated = np.array(pq.read_table(PREDICTIONS).column("logits").to_pylist()).argmax(1)
    recorded = json.loads(METRICS.read_text(encoding="utf-8"))
    name = "int8" if recorded["int8"]["kept"] else "onnx"
    same = (classifier.probabilities(rows["text"][:]).argmax(1) == evaluated).mean()
    return Ratio(
        f"labels as evaluated, beside those that export counted ({name})",
        same,
        recorded[name]["agreement"],
        "share",
        "1",
    )


def ratios(threads: int = THREADS, rounds: int = ROUNDS, calls: int = CALLS) -> list[Ratio]:
    """All that this benchmark measures."""
    if not METRICS.exists() or not EXPORT.is_dir():
        raise UserError(f"{EXPORT} or {METRICS} is missing; run `dvc repro` first")
    rows = read_rows("test")
    return [*speeds(rows, threads, rounds, calls), *processes(rows, threads, rounds), agreement(rows, threads)]


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference", description="Measure the exported model beside transformers.pipeline."
    )
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--calls", type=int, default=CALLS)
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
