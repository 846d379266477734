"""Calibration: scores of probabilities, the temperature that corrects them, and accuracy by confidence."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.metrics import brier_score_loss, log_loss

from finetune.scoring.curves import GRID, expected_calibration_error
from finetune.scoring.intervals import accuracy_entry

# A temperature at either end means that validation does not determine it: every row is right, or confidence is noise.
TEMPERATURES = (0.1, 10.0)
KEPT = (90, 80, 50)  # percent of the rows


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Temperature that minimises the log loss of logits / temperature on these rows; Guo et al. 2017.

    It is above 1 for an overconfident model. It changes the confidence and never the predicted label.
    """

    def loss(exponent: float) -> float:
        return -log_softmax(logits / np.exp(exponent), axis=1)[np.arange(len(labels)), labels].mean()

    logits = logits.astype(np.float64)
    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def scaled_probabilities(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probabilities of logits / temperature, both of shape [rows, classes]; the exported ONNX models give the same."""
    return softmax((logits / temperature).astype(np.float64), axis=-1)


def probability_scores(labels: np.ndarray, probabilities: np.ndarray, bins: np.ndarray) -> dict[str, float]:
    """Log loss, Brier score and calibration error; `bins` come from `confidence_bins`."""
    classes = range(probabilities.shape[1])
    return {
        "log_loss": log_loss(labels, probabilities, labels=classes),
        # Mean squared distance from the truth, over two so that it lies between 0 and 1 for any number of classes.
        "brier": brier_score_loss(labels, probabilities, labels=classes, scale_by_half=True),
        "ece": expected_calibration_error(bins),
    }


def surest_first(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Right (True) or wrong (False) of every row, the most confident row first."""
    order = np.argsort(-probabilities.max(1), kind="stable")
    return (probabilities.argmax(1) == labels)[order]


def selective_accuracy(right: np.ndarray) -> dict[str, dict]:
    """Accuracy, rows and interval of the most confident 90, 80 and 50%; El-Yaniv & Wiener 2010, "selective classification".

    `right` is sorted, the most confident row first; the remaining rows would go to a person.
    """
    return {f"keep_{share}": accuracy_entry(right[: max(1, round(share * len(right) / 100))]) for share in KEPT}


def selective_curve(right: np.ndarray) -> list[list[float]]:
    """Coverage, accuracy and the ends of its interval, at every percent of the rows; few rows give fewer points."""
    counts = sorted({round(share * len(right)) for share in GRID} - {0})
    entries = [accuracy_entry(right[:count]) for count in counts]
    return [[entry["rows"] / len(right), entry["accuracy"], *entry["interval"].values()] for entry in entries]
