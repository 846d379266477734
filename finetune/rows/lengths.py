"""Groups rows of similar length, so that padding wastes little; needs no torch."""

import sys
from collections.abc import Sequence

import numpy as np


def length_order(lengths: Sequence[int], rows: int, tokens: int = sys.maxsize) -> list[np.ndarray]:
    """Positions of each batch's rows, longest rows first, so that a batch that does not fit in memory fails at once.

    A batch has at most `rows` rows and, unless it is a single row, at most `tokens` tokens, padding included.

    >>> [positions.tolist() for positions in length_order([100, 2, 120, 3], rows=8, tokens=256)]
    [[2, 0], [3, 1]]
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = min(rows, rows_within(tokens, int(lengths[order[start]])))
        batches.append(order[start : start + size])
        start += size
    return batches


def rows_within(tokens: int, longest: int) -> int:
    """Number of rows that fit in `tokens` tokens when each is padded to `longest`; at least one."""
    return max(1, tokens // max(1, longest))
