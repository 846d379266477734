"""How far a score can be trusted: bootstrap intervals, Wilson's for shares, and an exact test.

One confidence and one number of resamples for everything, so that intervals can be compared
across branches.
"""

import numpy as np
from scipy.stats import binomtest, bootstrap

CONFIDENCE = 0.95
RESAMPLES = 2_000  # moves the ends by less than a tenth of the interval's width
SEED = 42


def mean_interval(values: np.ndarray) -> dict[str, float]:
    """Percentile bootstrap interval {low, high} of the mean over rows; Efron & Tibshirani 1993.

    For paired values (ours minus theirs, row by row) it is the paired interval of the difference.
    Without spread both ends are the mean.
    """
    values = np.asarray(values, float)
    if (values == values[0]).all():
        return {"low": float(values[0]), "high": float(values[0])}
    found = bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 10_000_000 // len(values)),  # at most 80 MB of resampled rows at a time
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return {"low": float(found.low), "high": float(found.high)}


def share_interval(count: int, rows: int, confidence: float = CONFIDENCE) -> dict[str, float]:
    """Wilson's interval {low, high} of a share of rows, such as 0 of 300 -> 0 to 0.0126; Wilson 1927.

    For few rows or shares near 0 and 1, where resampling finds no spread and so no doubt.
    """
    found = binomtest(count, rows).proportion_ci(confidence, method="wilson")
    return {"low": float(found.low), "high": float(found.high)}


def accuracy_entry(right: np.ndarray) -> dict:
    """Accuracy, rows and interval of rows answered right (True) or wrong (False)."""
    count = int(right.sum())
    return {"accuracy": count / len(right), "rows": len(right), "interval": share_interval(count, len(right))}


def crossed_interval(values: np.ndarray) -> dict[str, float]:
    """Interval {low, high} of the mean of values of shape [draws, rows], over other draws and other rows.

    Both are resampled at once (Owen 2007, "The pigeonhole bootstrap").
    """
    values = np.asarray(values, float)
    random = np.random.default_rng(SEED)
    draws, rows = values.shape
    means = []
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(draws, size=draws), minlength=draws)
        means.append((times @ values)[random.integers(rows, size=rows)].mean() / draws)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"low": float(low), "high": float(high)}


def paired_gain(ours: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
    """Gain in accuracy of ours over theirs on the same rows: value, low, high, p_value.

    Both are arrays of right (True) or wrong (False), row by row. The p value is McNemar's exact one:
    under no difference, each row that only one of the two gets right is a fair coin; McNemar 1947.
    """
    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    disagree = only_ours + only_theirs
    p_value = binomtest(only_ours, disagree, 0.5).pvalue if disagree else 1.0
    difference = ours.astype(float) - theirs.astype(float)
    return {"value": float(difference.mean()), **mean_interval(difference), "p_value": float(p_value)}
