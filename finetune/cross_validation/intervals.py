"""Intervals of the accuracy over the rows of all folds, and of the gain over a baseline: over rows, or over whole groups."""

import numpy as np

from finetune.evaluation.resampling import NO_WIDTH
from finetune.scoring.intervals import paired_gain, paired_interval, share_interval
from finetune.scoring.resamples import ends, group_counts


def resampled_means(values: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Percentile bootstrap interval {low, high} of the mean of one value per row, over whole groups."""
    means = np.concatenate([counts @ values / counts.sum(1) for counts in group_counts(groups)])
    return ends(means)


def accuracy_interval(right: np.ndarray, groups: np.ndarray | None) -> dict[str, float]:
    """Interval {low, high} of the accuracy: Wilson's over rows, or by resampling groups."""
    if groups is None:
        return share_interval(int(right.sum()), len(right))
    found = resampled_means(right.astype(float), groups)
    if found["high"] - found["low"] < NO_WIDTH:  # no group differs, which proves little for few of them
        units = len(np.unique(groups))
        return share_interval(round(right.mean() * units), units)
    return found


def gain(ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray | None) -> dict[str, float]:
    """Gain in accuracy on the same rows: value, low, high; without groups also McNemar's p, which takes rows as independent."""
    if groups is None:
        return paired_gain(ours, theirs)
    difference = ours.astype(float) - theirs
    found = resampled_means(difference, groups)
    if found["high"] - found["low"] < NO_WIDTH:
        units = len(np.unique(groups)) / len(ours)
        cells = (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
        found = paired_interval(*(round(cell.sum() * units) for cell in cells))
    return {"value": float(difference.mean()), **found}
