"""Curves and confidence bins: at most 101 points, whatever the number of rows."""

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

GRID = np.linspace(0, 1, 101)


def one_vs_rest(labels: np.ndarray, probabilities: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(is it this class?, its probability) for the second of two classes, or for each of more.

    Of labels that are sets, bool of shape [rows, labels], each label is taken. Leaves out a class that no row has, and
    one that all rows have.
    """
    if labels.ndim == 2:
        pairs = zip(labels.T, probabilities.T, strict=True)
        return [(truth, score) for truth, score in pairs if 0 < truth.sum() < len(truth)]
    classes = probabilities.shape[1]
    chosen = [1] if classes == 2 else range(classes)
    pairs = [(labels == label, probabilities[:, label]) for label in chosen]
    return [(truth, score) for truth, score in pairs if 0 < truth.sum() < len(truth)]


def roc(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """ROC curve, averaged over classes, of shape [101, 2]: false positive rate, true positive rate."""
    curves = [roc_curve(truth, score)[:2] for truth, score in one_vs_rest(labels, probabilities)]
    # At a jump, np.interp takes the upper rate, so the curve keeps its steep first step.
    return np.column_stack([GRID, np.mean([np.interp(GRID, fpr, tpr) for fpr, tpr in curves], axis=0)])


def precision_recall(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Precision-recall curve, averaged over classes, of shape [101, 2]: recall, best precision at that recall or more."""
    curves = []
    for truth, score in one_vs_rest(labels, probabilities):
        precision, recall, _ = precision_recall_curve(truth, score)
        best = np.maximum.accumulate(precision)
        curves.append([best[recall >= point - 1e-12][-1] for point in GRID])
    return np.column_stack([GRID, np.mean(curves, axis=0)])


def confidence_bins(labels: np.ndarray, probabilities: np.ndarray, count: int) -> np.ndarray:
    """Equal-width bins of the highest probability, of shape [count, 4]: mean confidence, accuracy, rows right, rows wrong.

    Confidence and accuracy of a bin without rows are NaN.
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    index = np.minimum((confidence * count).astype(int), count - 1)
    rows = np.bincount(index, minlength=count)
    rows_right = np.bincount(index, weights=right, minlength=count)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, weights=confidence, minlength=count) / rows
        return np.column_stack([mean, rows_right / rows, rows_right, rows - rows_right])


def expected_calibration_error(bins: np.ndarray) -> float:
    """Mean distance of confidence and accuracy over `confidence_bins`, weighted by their rows; Guo et al. 2017."""
    rows = bins[:, 2] + bins[:, 3]
    filled = rows > 0
    return float((rows * np.abs(bins[:, 0] - bins[:, 1]))[filled].sum() / rows.sum())
