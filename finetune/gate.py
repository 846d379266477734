"""Stop a model that is not good enough: compare metrics/ with `gate:` in params.yaml.

    python -m finetune.gate          (make gate)

Exit status: 0 all hold, 1 one falls short, 2 it could not tell: one is missing, is no number, or cannot be read.
"""

import math

from tabulate import tabulate

from finetune.errors import run
from finetune.metrics import look_up, read_metrics
from finetune.params import Threshold, read_params

HOLDS, FALLS_SHORT, CANNOT_TELL = range(3)


def verdict(value, threshold: Threshold) -> tuple[int, str]:
    """Whether a metric holds, and the word for it."""
    if value is None:
        return CANNOT_TELL, "missing"
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return CANNOT_TELL, "not a number"
    if (threshold.min is not None and value < threshold.min) or (threshold.max is not None and value > threshold.max):
        return FALLS_SHORT, "falls short"
    return HOLDS, "holds"


def wanted(threshold: Threshold) -> str:
    """A threshold in words: "at least 0.8"."""
    parts = [f"at least {threshold.min:g}"] if threshold.min is not None else []
    return " and ".join(parts + ([f"at most {threshold.max:g}"] if threshold.max is not None else []))


def check(metrics: dict, thresholds: dict[str, Threshold]) -> tuple[int, str]:
    """Worst verdict over all thresholds, and the table of metric, found, wanted and verdict."""
    worst, rows = HOLDS, []
    for key, threshold in thresholds.items():
        value = look_up(metrics, key)
        status, word = verdict(value, threshold)
        worst = max(worst, status)
        found = f"{value:.4g}" if status in (HOLDS, FALLS_SHORT) else "-" if value is None else str(value)[:20]
        rows.append([key, found, wanted(threshold), word])
    return worst, tabulate(rows, ["metric", "found", "wanted", ""], disable_numparse=True)


def main() -> int:
    thresholds = read_params("gate")
    if not thresholds:
        print("gate: params.yaml sets no threshold")
        return HOLDS
    status, table = check(read_metrics(), thresholds)
    print(table)
    return status


if __name__ == "__main__":
    raise SystemExit(run(main, mistake=CANNOT_TELL))
