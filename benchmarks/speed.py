"""Speed of each exported file beside transformers' own pipeline, written down for the model card.

    python -m benchmarks.speed [--rows 256] [--rounds 5] [--threads 2]

reads   models/export/, data/tokenized/test.parquet and source.json
writes  benchmarks/speed.json, which stage `export` reads: run `dvc repro` afterwards

Not part of `make bench`: a new file makes the exported folder a new one.
"""

import argparse
import json
from pathlib import Path

from benchmarks.measure import median_seconds
from finetune.classifier import FP32, INT8, Classifier
from finetune.errors import run
from finetune.files import write_json
from finetune.rows import TOKENIZED, read_rows

EXPORT = Path("models/export")
SPEED = Path("benchmarks/speed.json")
BATCH = 8  # of the pipeline: faster than 1 and 32 on short texts
SINGLE = 64  # texts that are answered one at a time


def speeds(texts: list[str], rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Texts a second of each file, one text at a time and many; the pipeline's is 1."""
    import torch
    from transformers import pipeline

    torch.set_num_threads(threads)
    classify = pipeline("text-classification", model=str(EXPORT), truncation=True)
    files = {name: file for name, file in {"onnx": FP32, "int8": INT8}.items() if (EXPORT / file).is_file()}
    classifiers = {name: Classifier(EXPORT, file, threads=threads) for name, file in files.items()}
    single = texts[:SINGLE]
    one = {"model": lambda: [classify(text) for text in single]}
    many = {"model": lambda: classify(texts, batch_size=BATCH)}
    for name, found in classifiers.items():
        one[name] = lambda found=found: [found.probabilities([text]) for text in single]
        many[name] = lambda found=found: found.probabilities(texts)
    spent = {"one": median_seconds(one, rounds), "many": median_seconds(many, rounds)}
    return {
        when: {name: round(seconds["model"] / second, 1) for name, second in seconds.items()}
        for when, seconds in spent.items()
    }


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Measure the exported files.")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    test = read_rows("test")
    texts, lengths = test["text"][: arguments.rows], [len(ids) for ids in test["input_ids"][: arguments.rows]]
    source = json.loads((TOKENIZED / "source.json").read_text(encoding="utf-8"))
    found = {
        "data": source["data"]["uri"],
        "model": source["model"]["uri"],
        "rows": len(texts),
        "tokens": round(sum(lengths) / len(lengths), 1),
        "threads": arguments.threads,
        "relative": speeds(texts, arguments.rounds, arguments.threads),
    }
    write_json(SPEED, found)
    print(f"{SPEED}: {json.dumps(found['relative'])}")


if __name__ == "__main__":
    raise SystemExit(run(main))
