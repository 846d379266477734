"""One training in a process of its own: its speed, its peak memory and, with `score`, its accuracies, as JSON.

    python -m benchmarks.side_training '{"recipe": "ours", "rows": 512}'

`recipe` is "ours" or "tutorial"; `train` changes the settings of params.yaml. "tutorial" is the Hugging Face Trainer as
tutorials use it: its defaults, fp32, every text padded to the maximum length, 16 rows a batch.
"""

import json
import re
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForSequenceClassification, PreTrainedModel, Trainer, TrainingArguments, set_seed

from finetune.base.params import read_params
from finetune.base.params_training import Train
from finetune.encoder.batches import padded
from finetune.encoder.hardware import chosen_precision
from finetune.encoder.models import fresh_classifier
from finetune.encoder.prediction import logits
from finetune.rows.stored import TOKENIZED, label_names, read_rows
from finetune.rows.tokens import load_tokenizer
from finetune.training.checkpoints import Checkpoints
from finetune.training.fine_tune import fine_tune
from finetune.training.fit import Fit
from finetune.training.settings import resolved
from stages.train import BASE

TUTORIAL_BATCH = 16
TUTORIAL_RATE = 5e-5  # the Trainer's default


def chosen_rows(split: str, rows: int | None, length: int | None) -> Dataset:
    """The first rows of a split, all for `rows` None; with `length`, each row repeats its tokens up to that many."""
    chosen = read_rows(split)
    chosen = chosen.select(range(min(rows or len(chosen), len(chosen))))
    if length is None:
        return chosen

    def filled(row):
        first, *middle, last = row["input_ids"]
        middle = middle or [last]
        return {"input_ids": [first, *(middle * length)[: length - 2], last]}

    return chosen.map(filled, keep_in_memory=True)


def tutorial(model, tokenizer, train: Dataset, length: int | None, epochs: int, seed: int):
    """Trains in place as a tutorial does; `length` None pads to the longest row of a batch (the same sums, fewer zeros)."""
    pad = tokenizer.pad_token_id

    def collate(rows):
        ids = [row["input_ids"] for row in rows]
        batch = padded([*ids, [pad] * length] if length else ids, pad)
        labels = torch.tensor([row["label"] for row in rows])
        return {name: value[: len(rows)] for name, value in batch.items()} | {"labels": labels}

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=TUTORIAL_BATCH,
            learning_rate=TUTORIAL_RATE,
            seed=seed,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            report_to="none",
            remove_unused_columns=False,
            disable_tqdm=True,
        )
        Trainer(model=model, args=arguments, train_dataset=train, data_collator=collate).train()


def peak_megabytes() -> float:
    """Peak memory of this process alone, in MB."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6


def accuracy(model, rows: Dataset, pad_id: int) -> float:
    """Accuracy of the model on these rows."""
    return float((logits(model, rows["input_ids"][:], pad_id).argmax(1) == np.asarray(rows["label"][:])).mean())


def main(recipe: str, rows=None, length=None, epochs=None, score=False, pad_to=None, train=None, products=True) -> dict:
    """Measurements of one training; `rows` and `length` as in `chosen_rows`, `pad_to` is the tutorial's padding.

    `products` counts matrix products, in a second training.
    """
    defaults = read_params("train")
    # The strategy of the default run, and no repeated epochs, also for a few rows.
    changes = {"strategy": "full", "min_steps": 1, "epochs": epochs or defaults.epochs} | (train or {})
    chosen = chosen_rows("train", rows, length)
    settings, _ = resolved(Train(**defaults.model_dump() | changes), len(chosen), len(label_names(chosen)))
    # If only speed counts, hardly any validation: the tutorial's side has none.
    validation = chosen_rows("validation", None if score else 8, length)
    tokenizer = load_tokenizer(TOKENIZED / "tokenizer")

    def fresh():
        if recipe == "ours":
            return fresh_classifier(BASE, label_names(chosen), settings.seed, settings.dropout)
        set_seed(settings.seed)
        # As tutorials load it, without the speed-ups of `fresh_classifier`.
        return AutoModelForSequenceClassification.from_pretrained(BASE, num_labels=len(label_names(chosen)))

    def train_ours(model) -> tuple[PreTrainedModel, Fit]:
        precision = chosen_precision(settings.precision)
        with tempfile.TemporaryDirectory() as folder:
            checkpoints = Checkpoints("benchmark", Path(folder))
            return fine_tune(model, tokenizer, chosen, validation, settings, precision, None, checkpoints)

    model, fit = fresh(), None
    started = time.perf_counter()
    if recipe == "tutorial":
        tutorial(model, tokenizer, chosen, pad_to, settings.epochs, settings.seed)
    else:
        model, fit = train_ours(model)
    seconds = time.perf_counter() - started
    measured = {
        "seconds": seconds,
        "rows_per_second": len(chosen) * (fit.progress.epoch if fit else settings.epochs) / seconds,
        "megabytes": peak_megabytes(),
        "trained": fit.trained_count if fit else None,
    }
    if fit and products and not score:  # in a second training, because counting takes time and memory
        with FlopCounterMode(display=False) as counter:
            train_ours(fresh())
        measured["gigaflops"] = counter.get_total_flops() / seconds / 1e9
    if score:
        pad = tokenizer.pad_token_id
        measured |= {split: accuracy(model, read_rows(split), pad) for split in ("validation", "test")}
    return measured


if __name__ == "__main__":
    # Libraries write to stdout too; only the last line is the result.
    print("\n" + json.dumps(main(**json.loads(sys.argv[1]))))
