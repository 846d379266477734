"""Uncertainty of scores: Wilson's interval of a proportion, Newcombe's of a paired difference, and McNemar's exact test.

All use one confidence and one number of resamples, so that intervals can be compared across branches.
"""

import math

import numpy as np
from scipy.stats import binomtest

CONFIDENCE = 0.95
RESAMPLES = 2_000  # moves the ends by less than a tenth of the interval's width
SEED = 42


def share_interval(count: int, rows: int, confidence: float = CONFIDENCE) -> dict[str, float]:
    """Wilson's interval {low, high} of a share of rows, such as 0 of 300 -> 0 to 0.0126; Wilson 1927.

    For few rows or shares near 0 and 1, whose resamples hardly vary, so that a bootstrap interval would be too narrow.
    """
    interval = binomtest(count, rows).proportion_ci(confidence, method="wilson")
    return {"low": float(interval.low), "high": float(interval.high)}


def accuracy_entry(right: np.ndarray) -> dict:
    """Accuracy, number of rows and interval of answers that are right (True) or wrong (False)."""
    count = int(right.sum())
    return {"accuracy": count / len(right), "rows": len(right), "interval": share_interval(count, len(right))}


def crossed_interval(values: np.ndarray) -> dict[str, float]:
    """Interval {low, high} of the mean of values of shape [draws, rows], over draws and rows.

    Both axes are resampled at once (Owen 2007, "The pigeonhole bootstrap").
    """
    values = np.asarray(values, float)
    random = np.random.default_rng(SEED)
    draws, rows = values.shape
    means = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(draws, size=draws), minlength=draws)
        means.append((times @ values)[random.integers(rows, size=rows)].mean() / draws)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if low == high:  # no answer differs from another, which proves little for few rows
        return share_interval(round(low * rows), rows)
    return {"low": float(low), "high": float(high)}


def paired_interval(both: int, only_ours: int, only_theirs: int, neither: int) -> dict[str, float]:
    """Interval {low, high} of the difference of two accuracies on the same rows, from the four counts of right answers.

    Wilson's intervals of the two accuracies, combined with the correlation of the answers; Newcombe 1998, "Improved
    confidence intervals for the difference between binomial proportions based on paired data", method 10. Unlike
    resampling it has a width where the two never differ: 60 rows, all right -> -0.06 to 0.06.
    """
    rows = both + only_ours + only_theirs + neither
    ours, theirs = both + only_ours, both + only_theirs
    ours_ends, theirs_ends = share_interval(ours, rows), share_interval(theirs, rows)
    # How far the ends lie from the accuracies.
    ours_below, ours_above = ours / rows - ours_ends["low"], ours_ends["high"] - ours / rows
    theirs_below, theirs_above = theirs / rows - theirs_ends["low"], theirs_ends["high"] - theirs / rows
    scale = math.sqrt(ours * (rows - ours) * theirs * (rows - theirs))
    product = both * neither - only_ours * only_theirs
    # With Newcombe's correction for continuity, which holds a positive correlation back.
    correlation = (max(product - rows / 2, 0) if product > 0 else product) / scale if scale else 0.0
    low = math.sqrt(ours_below**2 - 2 * correlation * ours_below * theirs_above + theirs_above**2)
    high = math.sqrt(ours_above**2 - 2 * correlation * ours_above * theirs_below + theirs_below**2)
    difference = (only_ours - only_theirs) / rows
    return {"low": difference - low, "high": difference + high}


def paired_gain(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Gain in accuracy of ours over theirs on the same rows: value, low, high, p_value.

    Both are arrays of right (True) or wrong (False), row by row. The p value is exact: without a difference, a row
    that only one of the two gets right is a fair coin toss; McNemar 1947.
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    disagree = only_ours + only_theirs
    p_value = binomtest(only_ours, disagree, 0.5).pvalue if disagree else 1.0
    return {
        "value": (only_ours - only_theirs) / len(ours),
        **paired_interval(int((ours & theirs).sum()), only_ours, only_theirs, int((~ours & ~theirs).sum())),
        "p_value": float(p_value),
    }
