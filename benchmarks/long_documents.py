"""Measure windows against head and head_tail on documents of 1,000 to 3,000 tokens whose verdict stands in the middle.

    python -m benchmarks.long_documents [--ways head head_tail windows] [--seeds 1] [--train 1000]

A document is made of plot summaries, which have no label in the default data, and of reviews with one label in their midst. No
film of a review and no plot is in two of the three parts. Run by hand (minutes for each training on two cores), not with
`make bench`.
"""

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from finetune.base.command import run
from finetune.base.params import read_params
from finetune.base.params_data import Tokenize
from finetune.encoder.hardware import chosen_precision
from finetune.encoder.models import fresh_classifier
from finetune.encoder.prediction import logits
from finetune.rows.encoding import Encoder
from finetune.rows.stored import TOKENIZED, class_ids, label_names, read_rows, row_features, token_ids, tokenised_rows
from finetune.rows.tokens import load_tokenizer
from finetune.training.checkpoints import Checkpoints
from finetune.training.fine_tune import fine_tune
from finetune.training.settings import PROBES, resolved
from stages.download import BASE, RAW

PARTS = {"train": 1_000, "validation": 200, "test": 500}  # documents
TOKENS = (1_000, 3_000)  # of a document
VERDICTS = 20  # reviews in the middle, about 540 tokens
MAX_LENGTH = 128
SEED = 7


def texts_of_plots(labels: set[str]) -> list[str]:
    """Rows of the source without one of the labels: summaries of plots."""
    table = pq.read_table(RAW / "all.parquet", columns=["text", "label"]).to_pylist()
    return [row["text"] for row in table if row["text"] and row["label"] not in labels]


def documents(count: int, plots: list[str], rows: Dataset, random: np.random.Generator, size) -> list[dict]:
    """Documents: plots up to half of a drawn number of tokens, reviews with one label, and plots up to the other half."""
    texts, labels = np.array(rows["text"][:], object), class_ids(rows)
    made = []
    for number in range(count):
        label = number % 2
        verdict = " ".join(random.choice(texts[labels == label], VERDICTS, replace=False))
        half = (random.integers(*TOKENS) - size(verdict)) / 2
        sides = []
        for _ in range(2):
            side, tokens = [], 0
            while tokens < half:
                side.append(plots[random.integers(len(plots))])
                tokens += size(side[-1])
            sides.append(" ".join(side))
        made.append({"text": f"{sides[0]} {verdict} {sides[1]}", "label": label, "group": None})
    return made


def tokenised(made: list[dict], names: list[str], settings: Tokenize, encoder: Encoder) -> Dataset:
    """Documents as `tokenize` stores them."""
    features = row_features(names, windows=settings.overlap is not None)
    schema = pa.schema([("text", pa.string()), ("group", pa.string())])
    batch = pa.RecordBatch.from_pylist([{name: row[name] for name in schema.names} for row in made], schema)
    labels = np.array([row["label"] for row in made])
    table, _ = tokenised_rows(np.arange(len(made)), batch, labels, features, encoder, settings)
    return Dataset(table)


def seconds() -> float:
    """Processor time of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_documents", description=__doc__.partition("\n")[0])
    parser.add_argument("--ways", nargs="+", default=["head", "head_tail", "windows"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--strategy", default="head")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--train", type=int, default=PARTS["train"], help="documents to train on")
    arguments = parser.parse_args()
    parts = PARTS | {"train": arguments.train}
    random, tokenizer = np.random.default_rng(SEED), load_tokenizer(TOKENIZED / "tokenizer")
    encoder, splits = Encoder(tokenizer), {name: read_rows(name) for name in parts}
    names = label_names(splits["test"])
    plots = texts_of_plots(set(read_params("data").labels))
    random.shuffle(plots)
    shares = dict(zip(parts, np.array_split(plots, len(parts)), strict=True))

    def size(text: str) -> int:
        return len(tokenizer.tokenize(text))

    made = {name: documents(count, shares[name].tolist(), splits[name], random, size) for name, count in parts.items()}
    for way in arguments.ways:
        settings = Tokenize(max_length=MAX_LENGTH, truncation=way)
        rows = {name: tokenised(part, names, settings, encoder) for name, part in made.items()}
        for seed in arguments.seeds:
            changes = {"seed": seed, "strategy": arguments.strategy, "epochs": arguments.epochs, "min_steps": 1}
            train, _ = resolved(read_params("train").model_copy(update=changes), len(rows["train"]), len(names))
            precision = chosen_precision(train.precision)
            model = fresh_classifier(BASE, names, seed, train.dropout, mean=train.strategy in PROBES)
            started = seconds()
            with tempfile.TemporaryDirectory() as folder:
                found = Checkpoints("long", Path(folder))
                model, fit = fine_tune(
                    model, tokenizer, rows["train"], rows["validation"], train, precision, None, found
                )
            trained = seconds()
            answers = logits(model, token_ids(rows["test"]), tokenizer.pad_token_id)
            right = (answers.argmax(1) == np.array(rows["test"]["label"])).mean()
            print(
                f"{way}, seed {seed}: test accuracy {right:.3f}, validation {fit.progress.best.scores['accuracy']:.3f}, "
                f"{fit.progress.step} steps, training {trained - started:.0f} s of processor time, test {seconds() - trained:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    raise SystemExit(run(main))
