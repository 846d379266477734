"""What is trained for: one label per text, or several; each knows its targets, its loss, its validation scores and its majority."""

from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from scipy.special import expit
from sklearn.metrics import f1_score, log_loss

from finetune.rows.stored import class_ids, has_label_sets, label_matrix


class OneLabel(NamedTuple):
    """Cross-entropy of class ids, of shape [rows]."""

    problem_type: str = "single_label_classification"

    def targets(self, rows: Dataset) -> np.ndarray:
        return class_ids(rows)

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each row."""
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")


class SeveralLabels(NamedTuple):
    """Mean binary cross-entropy over the labels, of targets 0 and 1 of shape [rows, labels]."""

    problem_type: str = "multi_label_classification"

    def targets(self, rows: Dataset) -> np.ndarray:
        return label_matrix(rows).astype(np.float32)

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each row."""
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


def objective_of(rows: Dataset) -> OneLabel | SeveralLabels:
    """The objective that the label column asks for."""
    return SeveralLabels() if has_label_sets(rows) else OneLabel()


def set_scores(targets: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Share of rows with exactly the right set, macro F1 over the labels that occur, and mean binary cross-entropy.

    A label is answered from a probability of 0.5 on: its threshold is chosen on validation once training has ended.
    """
    probabilities = expit(logits.astype(np.float64))
    return {
        "accuracy": float(((probabilities >= 0.5) == targets).all(1).mean()),
        "f1": macro_set_f1(targets, probabilities >= 0.5),
        "loss": float(
            np.mean([log_loss(t, p, labels=[0, 1]) for t, p in zip(targets.T, probabilities.T, strict=True)])
        ),
    }


def majority_set_scores(train_targets: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Accuracy and macro F1 of always answering the most frequent set of the training rows."""
    sets, counts = np.unique(train_targets, axis=0, return_counts=True)
    answers = np.broadcast_to(sets[counts.argmax()], targets.shape)
    return {"accuracy": float((answers == targets).all(1).mean()), "f1": macro_set_f1(targets, answers)}


def macro_set_f1(targets: np.ndarray, answers: np.ndarray) -> float:
    """Macro F1 over the labels that some row has; 0 without any."""
    occurs = targets.any(0)
    if not occurs.any():
        return 0.0
    return float(f1_score(targets[:, occurs] > 0, answers[:, occurs] > 0, average="macro", zero_division=0))
