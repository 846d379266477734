"""The exported model through onnxruntime against transformers.pipeline: one short text, many, start, memory, labels.

    python -m benchmarks.inference [--threads 2] [--rounds 3] [--calls 100] [--record]

Takes the model and the test rows from the project in the current folder, after `dvc repro`. All sides use the same number
of threads and take turns, each in its own process: threads that wait for work keep a core busy for a while. In bulk the pipeline has the best of three batch sizes. With --record the ratios go into benchmarks/speed.json, for the
model card; `dvc repro` then rewrites the card, and with it the exported folder.
"""

import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.measure import Ratio, median_seconds, table
from finetune.base.command import Parser, run
from finetune.base.errors import UserError
from finetune.base.files import read_json, write_json
from finetune.base.metric_files import METRICS, stage_metrics
from finetune.rows.stored import TOKENIZED, read_rows
from finetune.runtime.classifier import INT8, Classifier
from stages.export import EXPORT, PREDICTIONS, SPEED

THREADS = 2
ROUNDS = 3
CALLS = 100
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
PREDICT = "from finetune.predict.__main__ import main\nmain()\n"
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
    """The first test text of 16 tokens, or of the nearest length."""
    return rows["text"][int(np.argmin([abs(len(ids) - SHORT) for ids in rows["input_ids"]]))]


class Side:
    """A process that answers texts in one way; `benchmarks.side_inference` says how."""

    def __init__(self, name: str, threads: int):
        command = [sys.executable, "-m", "benchmarks.side_inference", name, str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.name, self.process = name, subprocess.Popen(command, env=environment(), text=True, **pipes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()

    def seconds(self, texts: list[str], calls: int = 1, batch: int = 1) -> float:
        """Median seconds of a call with these texts; raises UserError when the process has ended."""
        try:
            self.process.stdin.write(json.dumps({"texts": texts, "calls": calls, "batch": batch}) + "\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
        except (BrokenPipeError, ValueError):
            raise UserError(f"{self.name} did not answer; try `python -m benchmarks.side_inference`") from None


def speeds(rows, threads: int, rounds: int, calls: int) -> tuple[dict[str, dict[str, float]], int]:
    """Seconds of each side for `one` short text and for `many` (all rows), and the pipeline's best batch size."""
    short, texts = [short_text(rows)], rows["text"][:]
    with Side("model", threads) as model, Side("onnx", threads) as onnx, Side("int8", threads) as int8:
        sides = [model, onnx, *([int8] if (EXPORT / INT8).is_file() else [])]
        for side in sides:
            side.seconds(texts[:TRIED], batch=8)  # the first answers are slow
        best = min(BATCHES, key=lambda size: model.seconds(texts[:TRIED], batch=size))
        one = {side.name: (lambda side=side: side.seconds(short, calls)) for side in sides}
        many = {side.name: (lambda side=side: side.seconds(texts, batch=best)) for side in sides}
        return {"one": median_answer(one, rounds), "many": median_answer(many, rounds)}, best


def median_answer(tasks: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """Median of what each task measured, in turns."""
    measured = [{name: task() for name, task in tasks.items()} for _ in range(rounds)]
    return {name: statistics.median(seconds[name] for seconds in measured) for name in tasks}


def speed_ratios(rows, threads: int, rounds: int, calls: int, record: bool) -> list[Ratio]:
    """Short texts and rows a second of the exported model, against the pipeline."""
    found, best = speeds(rows, threads, rounds, calls)
    if record:
        source = read_json(TOKENIZED / "source.json")
        relative = {
            when: {name: round(seconds["model"] / second, 1) for name, second in seconds.items()}
            for when, seconds in found.items()
        }
        uris = {kind: source[kind]["uri"] for kind in ("data", "model")}
        tokens = {
            "one": min((len(ids) for ids in rows["input_ids"]), key=lambda length: abs(length - SHORT)),
            "many": round(float(np.mean([len(ids) for ids in rows["input_ids"]])), 1),
        }
        what = uris | {"rows": len(rows), "max_length": source["settings"]["tokenize"]["max_length"], "tokens": tokens}
        write_json(SPEED, what | {"threads": threads, "relative": relative})
    ours = "int8" if "int8" in found["one"] else "onnx"
    one, many = ({name: 1 / seconds[name] for name in (ours, "model")} for seconds in found.values())
    return [
        Ratio("one short text, beside transformers.pipeline", one[ours], one["model"], "texts/s", ">= 5"),
        Ratio(
            f"test rows in bulk, beside the pipeline in batches of {best}",
            len(rows) * many[ours],
            len(rows) * many["model"],
            "rows/s",
            ">= 2.5",
        ),
    ]


def environment() -> dict[str, str]:
    """Environment of processes that import this project's modules, in any folder."""
    return os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}


def process(script: str, *arguments) -> subprocess.CompletedProcess:
    """A script in its own process; raises UserError if it fails."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"a measured process failed: {done.stderr.strip()[-300:]}")
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
    """Share of the test rows that get the evaluated label from their text, against the share that `export` recorded."""
    classifier = Classifier(EXPORT, threads=threads)
    evaluated = np.array(pq.read_table(PREDICTIONS).column("logits").to_pylist()).argmax(1)
    recorded = stage_metrics("export")
    name = "int8" if recorded["int8"]["kept"] else "onnx"
    same = (classifier.probabilities(rows["text"][:]).argmax(1) == evaluated).mean()
    return Ratio(
        f"labels as evaluated, beside those that export counted ({name})",
        same,
        recorded[name]["agreement"],
        "share",
        "1",
    )


def ratios(threads: int = THREADS, rounds: int = ROUNDS, calls: int = CALLS, record: bool = False) -> list[Ratio]:
    """All that this benchmark measures."""
    metrics = METRICS / "export.json"
    if not metrics.exists() or not EXPORT.is_dir():
        raise UserError(f"{EXPORT} or {metrics} is missing; run `dvc repro` first")
    rows = read_rows("test")
    return [
        *speed_ratios(rows, threads, rounds, calls, record),
        *processes(rows, threads, rounds),
        agreement(rows, threads),
    ]


def main():
    parser = Parser(
        prog="python -m benchmarks.inference", description="Measure the exported model against transformers.pipeline."
    )
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--record", action="store_true", help=f"write the ratios to {SPEED}, for the model card")
    print(table(ratios(**vars(parser.parse_args()))))


if __name__ == "__main__":
    raise SystemExit(run(main))
