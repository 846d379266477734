"""How far probabilities can be believed: their scores, a temperature that mends them, and what confidence is worth."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import brier_score_loss, log_loss

from finetune.scoring.curves import GRID, expected_calibration_error
from finetune.scoring.intervals import accuracy_entry

# A temperature at an end says that validation cannot tell: every row right, or confidence that means nothing.
TEMPERATURES = (0.1, 10.0)
KEPT = (90, 80, 50)  # percent of the rows


def fit_temperature(labels: np.ndarray, logits: np.ndarray) -> float:
    """Number to divide logits by so that the log loss on these rows is least; Guo et al. 2017.

    Over 1 where the model is too sure of itself. It changes no prediction, only how sure it is.
    """

    def loss(exponent: float) -> float:
        return -log_softmax(logits / np.exp(exponent), axis=1)[np.arange(len(labels)), labels].mean()

    logits = logits.astype(np.float64)
    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def probability_scores(labels: np.ndarray, probabilities: np.ndarray, bins: np.ndarray) -> dict[str, float]:
    """Log loss, Brier score and calibration error; `bins` as `confidence_bins` gives them."""
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

    `right` is sorted, the most confident first: the others would be set aside for a person.
    """
    return {f"keep_{share}": accuracy_entry(right[: max(1, round(share * len(right) / 100))]) for share in KEPT}


def selective_curve(right: np.ndarray) -> list[list[float]]:
    """Coverage, accuracy and the ends of its interval, for every percent of the rows that can be told apart."""
    counts = sorted({round(share * len(right)) for share in GRID} - {0})
    entries = [accuracy_entry(right[:count]) for count in counts]
    return [[entry["rows"] / len(right), entry["accuracy"], *entry["interval"].values()] for entry in entries]
