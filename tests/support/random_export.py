"""Tiny exported folders of randomly initialised classifiers, as the stage `export` writes them."""

import copy
import json
from pathlib import Path

import onnx
import torch

from finetune.encoder.models import fresh_classifier, save, trained_classifier
from finetune.encoder.prediction import logits
from finetune.export.onnx_files import fp32_onnx, int8_onnx
from finetune.rows.tokens import encode, load_tokenizer, special_tokens
from finetune.runtime.classifier import FP32, INT8, MULTI_LABEL
from finetune.scoring.decisions import DECISION
from tests.support.tiny import reviews, tiny_checkpoint

NAMES = ["差评", "good, or so", "mixed"]  # with a comma, and with letters outside ASCII


def facts(tokenizer, names: list[str], temperature: float, truncation: str) -> dict:
    """Facts that a caller needs, as `export` writes them into the metadata."""
    return {
        "labels": names,
        "temperature": temperature,
        "max_length": tokenizer.model_max_length,
        "truncation": truncation,
        "special_tokens": special_tokens(tokenizer),
        "pad_id": tokenizer.pad_token_id,
    }


def spread_answers(model, ids: list[list[int]], pad_id: int):
    """Gives the logits over these rows mean 0 and deviation 1: with fresh weights every text would get the same label."""
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim == 2:
                weights.mul_(10)  # 0.02 is so small that [CLS] hardly sees the other tokens
        scores = torch.as_tensor(logits(model, ids, pad_id))
        *_, weight, bias = model.parameters()
        scale = 1 / scores.std(0)
        bias.copy_((bias - scores.mean(0)) * scale)
        weight.mul_(scale[:, None])


def random_export(
    folder: Path,
    family: str = "bert",
    temperature: float = 1.7,
    truncation: str = "head",
    max_length: int = 32,
    int8: bool = True,
    thresholds: dict[str, float] | None = None,
) -> Path:
    """Exported folder of a randomly initialised classifier of any family; its answers differ between texts.

    With `thresholds` by the names of the labels, a text may have several labels.
    """
    base = tiny_checkpoint(folder.with_name(f"{folder.name}-base"), family)
    tokenizer = load_tokenizer(base)
    tokenizer.model_max_length = max_length
    model = fresh_classifier(base, NAMES, seed=7)
    spread_answers(model, encode(tokenizer, [row["text"] for row in reviews(40)]), tokenizer.pad_token_id)
    save(model, tokenizer, folder)
    described = facts(tokenizer, NAMES, temperature, truncation)
    if thresholds:
        temperature, described = None, described | {"temperature": 1.0, "task": MULTI_LABEL}
        (folder / DECISION).write_text(json.dumps({"thresholds": thresholds}))
    whole = fp32_onnx(trained_classifier(folder).cpu(), temperature, described)
    (folder / FP32).parent.mkdir()
    onnx.save(whole, folder / FP32)
    if int8:
        onnx.save(int8_onnx(copy.deepcopy(whole)), folder / INT8)
    return folder
