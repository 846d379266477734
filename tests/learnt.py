"""A tiny exported folder as `export` leaves it: a BERT that learnt the words of the reviews, ONNX, profile, card."""

import contextlib
import random
import shutil
from pathlib import Path

import torch

from finetune.card import model_card
from finetune.encoder import fresh_classifier, save
from finetune.tokens import encode, load_tokenizer
from stages import export
from tests.test_card import FACTS
from tests.tiny import reviews, tiny_checkpoint

LABELS = ["bad", "good"]
TEMPERATURE = 1.5


def fitted(checkpoint: Path, steps: int = 150):
    """A classifier that tells the reviews apart, and its tokenizer."""
    tokenizer = load_tokenizer(checkpoint)
    model = fresh_classifier(checkpoint, LABELS, seed=0)
    rows = reviews(400, seed=1)
    chance = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(steps):
        batch = chance.sample(rows, 16)
        ids = encode(tokenizer, [row["text"] for row in batch])
        inputs = tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        wanted = torch.tensor([LABELS.index(row["label"]) for row in batch])
        model(**inputs, labels=wanted).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), tokenizer


def tiny_export(folder: Path) -> Path:
    """The exported folder inside a working folder of its own."""
    model, tokenizer = fitted(tiny_checkpoint(folder / "checkpoint"))
    with contextlib.chdir(folder):
        save(model, tokenizer, export.FINETUNED)
        shutil.copytree(export.FINETUNED, export.EXPORT)
        export.write_onnx(TEMPERATURE, "head", LABELS)
        export.write_profile([row["text"] for row in reviews(1000, seed=2)])
        (export.EXPORT / "README.md").write_text(model_card(FACTS), encoding="utf-8")
    return folder / export.EXPORT
