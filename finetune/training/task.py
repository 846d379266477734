"""One label per text, or several: each knows its targets, its losses, its weights of rows, its validation scores and its majority.

The losses of a probe are in numpy, with their gradient; those of soft labels are for learning from a teacher.
"""

from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import accuracy_score, f1_score, log_loss

from finetune.rows.stored import class_ids, has_label_sets, label_matrix, label_names
from finetune.training.class_weights import class_weights


@dataclass
class OneLabel:
    """Cross-entropy of class ids, of shape [rows]."""

    problem_type = "single_label_classification"
    several = False
    class_weights: np.ndarray | None = None

    @staticmethod
    def targets(rows: Dataset) -> np.ndarray:
        """Class id of each row."""
        return class_ids(rows)

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each row."""
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    def probe_loss(self, logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """Weighted loss over all rows, and its gradient by the logits, [rows, classes]."""
        logs, hot = log_softmax(logits, axis=1), np.eye(logits.shape[1])[targets]
        weights = self.class_weights[targets][:, None]
        return -(logs * hot * weights).sum(), weights * (np.exp(logs) - hot)

    def soft_labels(self, logits: np.ndarray, temperature: float) -> torch.Tensor:
        """A teacher's probabilities at a temperature, both [rows, classes]; above 1 they say more about the less probable classes."""
        return torch.softmax(torch.as_tensor(logits, dtype=torch.float32) / temperature, dim=-1)

    def divergence(self, logits: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """KL divergence of the probabilities from the soft labels, [rows]."""
        logs = torch.log_softmax(logits, dim=-1)
        return torch.nn.functional.kl_div(logs, soft, reduction="none").sum(-1)

    def row_weights(self, targets: np.ndarray) -> np.ndarray:
        """Weight of each row: that of its class."""
        return self.class_weights[targets]

    def scores(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float]:
        """Accuracy, macro F1 over the classes that occur, and mean cross-entropy."""
        return {
            "accuracy": float(accuracy_score(targets, logits.argmax(1))),
            "f1": macro_f1(targets, logits.argmax(1)),
            "loss": float(
                log_loss(targets, softmax(logits.astype(np.float64), axis=-1), labels=range(logits.shape[1]))
            ),
        }

    def majority(self, train_targets: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Accuracy and macro F1 of always answering the most frequent label of the training rows."""
        answer = np.bincount(train_targets).argmax()
        return {
            "accuracy": float((targets == answer).mean()),
            "f1": macro_f1(targets, np.full(len(targets), answer)),
        }


@dataclass
class SeveralLabels:
    """Mean binary cross-entropy over the labels, of targets 0 and 1 of shape [rows, labels]."""

    problem_type = "multi_label_classification"
    several = True
    class_weights: np.ndarray | None = None

    @staticmethod
    def targets(rows: Dataset) -> np.ndarray:
        """Whether each row has each label, as 0 and 1."""
        return label_matrix(rows).astype(np.float32)

    def losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each row. In the loss of a label, the rows that have it count with its weight."""
        weights = torch.as_tensor(self.class_weights, dtype=logits.dtype, device=logits.device)
        return torch.nn.functional.binary_cross_entropy_with_logits(
            logits, targets, reduction="none", pos_weight=weights
        ).mean(1)

    def probe_loss(self, logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
        """Weighted loss over all labels of all rows, and its gradient by the logits, [rows, labels]."""
        weights = np.where(targets > 0, self.class_weights, 1.0)
        losses = np.logaddexp(0, logits) - targets * logits
        return (weights * losses).sum(), weights * (expit(logits) - targets)

    def soft_labels(self, logits: np.ndarray, temperature: float) -> torch.Tensor:
        """A teacher's probability of each label at a temperature, [rows, labels]."""
        return torch.sigmoid(torch.as_tensor(logits, dtype=torch.float32) / temperature)

    def divergence(self, logits: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """KL divergence of each label's probability from its soft label, the mean over the labels, [rows]."""
        cross = torch.nn.functional.binary_cross_entropy_with_logits(logits, soft, reduction="none")
        return (cross - torch.special.entr(soft) - torch.special.entr(1 - soft)).mean(1)

    def row_weights(self, targets: np.ndarray) -> np.ndarray:
        """Weight of each row: 1, because a row may have labels of different weights."""
        return np.ones(len(targets))

    def scores(self, targets: np.ndarray, logits: np.ndarray) -> dict[str, float]:
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

    def majority(self, train_targets: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        """Accuracy and macro F1 of always answering the most frequent set of the training rows."""
        sets, counts = np.unique(train_targets, axis=0, return_counts=True)
        answers = np.broadcast_to(sets[counts.argmax()], targets.shape)
        return {"accuracy": float((answers == targets).all(1).mean()), "f1": macro_set_f1(targets, answers)}


def task_of(train: Dataset, weights: dict[str, float] | str | None = None) -> OneLabel | SeveralLabels:
    """The task that the label column of the training rows asks for, with the weights that `train.class_weights` asks for."""
    task = SeveralLabels if has_label_sets(train) else OneLabel
    return task(class_weights(weights, task.targets(train), label_names(train)))


def macro_f1(labels: np.ndarray, answers: np.ndarray) -> float:
    """Macro F1 of class ids over the classes that occur among the labels.

    Not the score block: a change of the scores that `evaluate` reports must not retrain the model.
    """
    return float(f1_score(labels, answers, labels=np.unique(labels), average="macro", zero_division=0))


def macro_set_f1(targets: np.ndarray, answers: np.ndarray) -> float:
    """Macro F1 over the labels that some row has; 0 without any."""
    occurs = targets.any(0)
    if not occurs.any():
        return 0.0
    return float(f1_score(targets[:, occurs] > 0, answers[:, occurs] > 0, average="macro", zero_division=0))
