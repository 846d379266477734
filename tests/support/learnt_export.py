"""A tiny exported folder as `export` writes it, with a BERT that has learnt the reviews, ONNX files, profile and card."""

import contextlib
import math
import random
import shutil
from pathlib import Path

import torch

from finetune.encoder.models import fresh_classifier, save, trained_classifier
from finetune.export.card import model_card
from finetune.export.onnx_files import write_onnx
from finetune.export.runtime_files import write_profile
from finetune.rows.tokens import encode, load_tokenizer
from stages import export
from tests.export.test_card import FACTS
from tests.support.tiny import BAD, FILLER, GOOD, reviews, tiny_checkpoint

LABELS = ["bad", "good"]
TEMPERATURE = 1.0  # the model is trained on probabilities and needs no calibration


def graded(chance: random.Random) -> tuple[str, float]:
    """A text and its probability of being good, which follows from up to three words for each side."""
    good, bad = chance.randint(0, 3), chance.randint(0, 3)
    words = chance.sample(GOOD, good) + chance.sample(BAD, bad) + chance.choices(FILLER, k=chance.randint(1, 20))
    chance.shuffle(words)
    return " ".join(words), 1 / (1 + math.exp(bad - good))


def fitted(checkpoint: Path, steps: int = 300):
    """A classifier trained on such texts, and its tokenizer."""
    tokenizer = load_tokenizer(checkpoint)
    model = fresh_classifier(checkpoint, LABELS, seed=0)
    chance = random.Random(0)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(steps):
        texts, good = zip(*(graded(chance) for _ in range(32)), strict=True)
        inputs = tokenizer.pad({"input_ids": encode(tokenizer, texts)}, return_tensors="pt")
        targets = torch.tensor([[1 - probability, probability] for probability in good])
        torch.nn.functional.cross_entropy(model(**inputs).logits, targets).backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), tokenizer


def learnt_export(folder: Path):
    """Fills a project's folder with the exported folder of a classifier that distinguishes good words from bad ones."""
    model, tokenizer = fitted(tiny_checkpoint(folder / "checkpoint"))
    with contextlib.chdir(folder):
        save(model, tokenizer, export.FINETUNED)
        shutil.copytree(export.FINETUNED, export.EXPORT)
        write_onnx(export.EXPORT, trained_classifier(export.FINETUNED), tokenizer, TEMPERATURE, "head", LABELS)
        write_profile(export.EXPORT, [row["text"] for row in reviews(1000, seed=2)])
        (export.EXPORT / "README.md").write_text(model_card(FACTS._replace(name="tiny-reviews")), encoding="utf-8")
