"""All headline scores of many resamples of the rows at once, and their intervals."""

from collections.abc import Callable

import numpy as np

from finetune.scoring.curves import one_vs_rest
from finetune.scoring.intervals import CONFIDENCE, RESAMPLES, share_interval
from finetune.scoring.resamples import ratio, resample_counts

HIGHER_IS_BETTER = {  # headline scores in metrics/test.json
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "roc_auc": True,
    "log_loss": False,
    "brier": False,
    "ece": False,
}
# Scores between 0 and 1: Wilson's interval takes the place of one without width.
SHARES = ("accuracy", "precision", "recall", "f1", "roc_auc", "brier", "ece")
NO_WIDTH = 1e-9  # of a bootstrap interval; sums of equal values differ in their last bits


def macro_scores(counts: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Macro precision, recall and F1 of each resample, over the classes that occur in it."""
    of_class = np.eye(classes)
    actual, answered = counts @ of_class[labels], counts @ of_class[predicted]
    both = counts @ (of_class[labels] * of_class[predicted])
    occurs = actual > 0
    return {
        name: (values * occurs).sum(1) / occurs.sum(1)
        for name, values in (
            ("precision", ratio(both, answered)),
            ("recall", ratio(both, actual)),
            ("f1", ratio(2 * both, answered + actual)),
        )
    }


def calibration_errors(counts: np.ndarray, right: np.ndarray, confidence: np.ndarray, bin_count: int) -> np.ndarray:
    """Expected calibration error of each resample: sum over bins of |sum of confidence - right|, over the rows."""
    bin_index = np.minimum((confidence * bin_count).astype(int), bin_count - 1)
    distance = counts @ (np.eye(bin_count)[bin_index] * (confidence - right)[:, None])
    return np.abs(distance).sum(1) / counts.sum(1)


def areas(counts: np.ndarray, truth: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each resample; NaN if the resample lacks a class.

    It is the fraction of pairs (one row of the class, one of another) that the score ranks correctly;
    a tie counts as half a pair.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    sorted_counts = counts[:, order]
    positive = np.add.reduceat(sorted_counts * truth[order], starts, axis=1)
    negative = np.add.reduceat(sorted_counts * ~truth[order], starts, axis=1)
    ranked = (positive * (negative.cumsum(1) - negative / 2)).sum(1)
    pairs = positive.sum(1) * negative.sum(1)
    return np.where(pairs > 0, ratio(ranked, pairs), np.nan)


def mean_area(areas: np.ndarray) -> np.ndarray:
    """Mean over classes of areas of shape [classes, resamples]; NaN if a resample lacks one of them."""
    return areas.mean(0)


def scores(
    labels: np.ndarray, probabilities: np.ndarray, counts: np.ndarray, bin_count: int, mean: Callable = mean_area
) -> dict[str, np.ndarray]:
    """Every headline score of each resample in `counts` [resamples, rows]; `mean` averages the areas over the classes."""
    classes = probabilities.shape[1]
    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    right = predicted == labels
    smallest = np.finfo(probabilities.dtype).eps  # scikit-learn's log loss clips here
    row_loss = -np.log(np.clip(probabilities[np.arange(len(labels)), labels], smallest, 1))
    row_brier = ((probabilities - np.eye(classes)[labels]) ** 2).sum(1) / 2
    means = counts @ np.column_stack([right, row_loss, row_brier]) / counts.sum(1, keepdims=True)
    curves = [areas(counts, truth, score) for truth, score in one_vs_rest(labels, probabilities)]
    return {
        "accuracy": means[:, 0],
        **macro_scores(counts, labels, predicted, classes),
        "log_loss": means[:, 1],
        "brier": means[:, 2],
        "ece": calibration_errors(counts, right, confidence, bin_count),
        "roc_auc": mean(np.array(curves)) if curves else np.full(len(counts), np.nan),
    }


def resampled_scores(
    labels: np.ndarray,
    probabilities: np.ndarray,
    bin_count: int,
    groups: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    mean: Callable = mean_area,
) -> dict[str, np.ndarray]:
    """Every headline score of every resample, each of shape [resamples]; of whole groups where they are given.

    For `mean` see `scores`.
    """
    drawn = resample_counts(len(labels), resamples, groups)
    blocks = [scores(labels, probabilities, counts, bin_count, mean) for counts in drawn]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def score_intervals(
    labels: np.ndarray, probabilities: np.ndarray, bin_count: int, groups: np.ndarray | None = None
) -> dict[str, dict[str, float]]:
    """Percentile bootstrap interval {low, high} of each headline score, over rows or whole groups; Efron & Tibshirani 1993.

    A resample in which a score is undefined (no row of a class, so no area under its curve) is left out.
    The calibration error of resamples is biased upwards, because repeated rows move bins apart by
    chance. Its interval is therefore the basic bootstrap interval, which removes that bias. Where no resample differs,
    because all or none of the rows are right, that proves little for few rows: Wilson's interval of as many rows (or groups)
    stands in.
    """
    units = len(labels) if groups is None else len(np.unique(groups))
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    intervals = {}
    for name, values in resampled_scores(labels, probabilities, bin_count, groups).items():
        known = values[np.isfinite(values)]
        low, high = np.quantile(known, ends) if len(known) else (np.nan, np.nan)
        if name in SHARES and high - low < NO_WIDTH:
            low, high = share_interval(round(low * units), units).values()
        elif name == "ece":
            whole, right = np.ones((1, len(labels))), probabilities.argmax(1) == labels
            estimate = calibration_errors(whole, right, probabilities.max(1), bin_count)[0]
            low, high = max(0, 2 * estimate - high), max(0, 2 * estimate - low)
        intervals[name] = {"low": float(low), "high": float(high)}
    return intervals
