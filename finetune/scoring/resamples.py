"""Bootstrap resamples of the rows, in blocks that fit into memory; Efron & Tibshirani 1993."""

from collections.abc import Iterator

import numpy as np

from finetune.scoring.intervals import CONFIDENCE, RESAMPLES, SEED

CELLS = 4_000_000  # resamples times rows in one block: 32 MB


def row_counts(rows: int, resamples: int = RESAMPLES, columns: int | None = None) -> Iterator[np.ndarray]:
    """How often each resample holds each row, in blocks of shape [resamples, rows], small enough for as many `columns`."""
    random = np.random.default_rng(SEED)
    size = max(1, CELLS // (columns or rows))
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        drawn = random.integers(rows, size=(count, rows)) + rows * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows).astype(float)


def group_counts(groups: np.ndarray, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """How often each resample of whole groups holds each row, in blocks of shape [resamples, rows].

    `groups` has one key per row. Rows of a group resemble each other, so other groups change a score more than other rows do;
    a resample has as many groups, and more or fewer rows. Field and Welsh 2007, "Bootstrapping clustered data".
    """
    group = np.unique(groups, return_inverse=True)[1]
    for counts in row_counts(group.max() + 1, resamples, len(groups)):
        yield counts[:, group]


def resample_counts(rows: int, resamples: int = RESAMPLES, groups: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """`row_counts` of so many rows, or `group_counts` if the rows have groups."""
    return group_counts(groups, resamples) if groups is not None else row_counts(rows, resamples)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Part over whole, 0 where the whole is 0, as the score block counts it."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def mean_of_known(values: np.ndarray) -> np.ndarray:
    """Mean over the first axis without NaN; NaN where every value is NaN."""
    known = np.isfinite(values)
    return np.where(known.any(0), np.where(known, values, 0).sum(0) / np.maximum(known.sum(0), 1), np.nan)


def ends(values: np.ndarray) -> dict[str, float]:
    """Percentile bootstrap interval {low, high}; a resample in which the score is undefined (NaN) is left out."""
    known = values[np.isfinite(values)]
    quantiles = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(known, quantiles) if len(known) else (np.nan, np.nan)
    return {"low": float(low), "high": float(high)}
