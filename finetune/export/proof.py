"""Proof that the exported model answers as it was evaluated: in transformers, in ONNX, and in int8 nearly."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import expit, logit, softmax
from sklearn.metrics import f1_score

from finetune.base.errors import UserError
from finetune.base.fields import Text
from finetune.runtime.classifier import FP32, Classifier

ONNX_TOLERANCE = 1e-4  # of a logit: the same sums in fp32, in another order


def agreement(evaluated: np.ndarray, exported: np.ndarray, thresholds: np.ndarray | None = None) -> dict[str, float]:
    """Largest difference of a logit or probability, and the fraction of rows that keep their label.

    With thresholds, one for each label, a row keeps its set of labels.
    """
    if thresholds is None:
        same = evaluated.argmax(1) == exported.argmax(1)
    else:
        same = ((evaluated >= thresholds) == (exported >= thresholds)).all(1)
    return {
        "max_difference": np.abs(evaluated - exported).max(),
        "agreement": same.mean(),
    }


def onnx_logits(folder: Path, model: Path, texts: Sequence[Text]) -> np.ndarray:
    """Logits of shape [texts, classes] of one of the folder's ONNX files, which tokenises the texts itself."""
    classifier = Classifier(folder, model, threads=1)
    return classifier.answer(classifier.encode(texts), "logits")


def reload_proof(
    evaluated: np.ndarray, reloaded: np.ndarray, tolerance: float, thresholds: np.ndarray | None = None
) -> dict[str, float]:
    """Agreement of the reloaded model's probabilities with the evaluated logits; raises UserError beyond `tolerance`."""
    probabilities = softmax(evaluated, axis=1) if thresholds is None else expit(evaluated)
    proof = agreement(probabilities, reloaded, thresholds)
    if proof["max_difference"] > tolerance:
        raise UserError(
            f"the exported model's probabilities differ from the evaluated ones by up to {proof['max_difference']:.2g}; "
            f"export.tolerance allows {tolerance}: run `dvc repro --force evaluate export`"
        )
    return proof


def onnx_proof(
    evaluated: np.ndarray, exported: np.ndarray, folder: Path, thresholds: np.ndarray | None = None
) -> dict[str, float]:
    """Agreement of the fp32 ONNX file's logits with the evaluated ones; raises UserError beyond ONNX_TOLERANCE."""
    if thresholds is not None:  # a temperature below 1 in the weights magnifies the rounding of a logit
        evaluated, exported = expit(evaluated), expit(exported)
    proof = agreement(evaluated, exported, thresholds)
    if proof["max_difference"] > ONNX_TOLERANCE:
        raise UserError(
            f"the {'logits' if thresholds is None else 'probabilities'} of {folder / FP32} differ from the evaluated ones by up to {proof['max_difference']:.2g}; at most "
            f"{ONNX_TOLERANCE} is expected: run `dvc repro --force evaluate export`, and report it if that does not help"
        )
    return proof


def int8_verdict(labels: np.ndarray, evaluated: np.ndarray, exported: np.ndarray, max_drop: float) -> dict:
    """Accuracy in int8, its change, agreement with the evaluated labels; and whether that ships, and why."""
    accuracy = (exported.argmax(1) == labels).mean()
    change = accuracy - (evaluated.argmax(1) == labels).mean()
    kept = bool(change >= -max_drop)
    return {
        "accuracy": accuracy,
        "change": change,
        "agreement": agreement(evaluated, exported)["agreement"],
        "kept": kept,
        "why": f"accuracy changes by {change:+.4f}; export.int8.max_drop allows a fall of {max_drop:g}",
    }


def int8_set_verdict(
    truth: np.ndarray, evaluated: np.ndarray, exported: np.ndarray, thresholds: np.ndarray, max_drop: float
) -> dict:
    """The verdict on several labels per text, of shape [rows, labels]: micro F1 takes the place of the accuracy."""
    least = logit(thresholds)
    before, after = (f1_score(truth, rows >= least, average="micro", zero_division=0) for rows in (evaluated, exported))
    return {
        "micro_f1": after,
        "change": after - before,
        "agreement": agreement(evaluated, exported, least)["agreement"],
        "kept": bool(after - before >= -max_drop),
        "why": f"micro F1 changes by {after - before:+.4f}; export.int8.max_drop allows a fall of {max_drop:g}",
    }
