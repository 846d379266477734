"""Shared by all benchmarks: take turns, take medians, print ratios."""

import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

from tabulate import tabulate


class Ratio(NamedTuple):
    """One measured quantity and its reference, both from the same run."""

    what: str
    found: float
    beside: float
    unit: str
    target: str  # in words; "" where there is none

    @property
    def ratio(self) -> float:
        return self.found / self.beside


def median_seconds(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median wall time of each task over the rounds, after one round that does not count.

    In each round the tasks take turns, so that any other load on the machine affects all of them.
    """
    spent: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            spent[name].append(time.perf_counter() - started)
    return {name: statistics.median(seconds[1:]) for name, seconds in spent.items()}


def table(rows: list[Ratio]) -> str:
    """Measurements as a table, a line each."""
    lines = [
        [row.what, f"{row.found:,.4g}", f"{row.beside:,.4g}", row.unit, f"{row.ratio:.2f}", row.target] for row in rows
    ]
    return tabulate(lines, ["", "found", "beside", "unit", "ratio", "target"], disable_numparse=True)
