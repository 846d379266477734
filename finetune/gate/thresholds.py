"""Metrics against the thresholds of `gate:` in params.yaml: each holds, falls short, or cannot be judged."""

from finetune.base.params_results import Gate, Threshold
from finetune.gate.page import Section
from finetune.results.folds import why_no_folds
from finetune.results.metrics import look_up
from finetune.results.revisions import Revision
from finetune.results.score_files import is_number

FOLDS = "folds."  # thresholds on the cross-validation
HOLDS, FALLS_SHORT, CANNOT_TELL = range(3)


def verdict(value, threshold: Threshold) -> tuple[int, str]:
    """Whether a metric holds, and the word for it."""
    if value is None:
        return CANNOT_TELL, "missing"
    if not is_number(value):
        return CANNOT_TELL, "not a number"
    if (threshold.min is not None and value < threshold.min) or (threshold.max is not None and value > threshold.max):
        return FALLS_SHORT, "falls short"
    return HOLDS, "holds"


def wanted(threshold: Threshold) -> str:
    """A threshold in words: "at least 0.8"."""
    parts = [f"at least {threshold.min:g}"] if threshold.min is not None else []
    return " and ".join(parts + ([f"at most {threshold.max:g}"] if threshold.max is not None else []))


def shown(value) -> str:
    """A metric as the table shows it, whatever its type."""
    return "-" if value is None else f"{value:.4g}" if is_number(value) else str(value)[:20]


def gain_row(metrics: dict, min_gain: float) -> tuple[int, list[str]]:
    """Whether the gain over the best baseline is large enough and its whole interval above 0, with the table's row."""
    value, low = look_up(metrics, "test.gain.value"), look_up(metrics, "test.gain.low")
    status, word = max(verdict(value, Threshold(min=min_gain)), verdict(low, Threshold(min=0)))
    if status == HOLDS and low == 0:
        status, word = FALLS_SHORT, "falls short"
    return status, ["min_gain", f"{shown(value)}, from {shown(low)}", f"at least {min_gain:g}, from above 0", word]


def check_thresholds(metrics: dict, gate: Gate) -> tuple[int, Section]:
    """Worst verdict over all thresholds, and the table of metric, found, wanted and verdict.

    `metrics` are those of the workspace. Of a cross-validation that belongs to other settings or rows, every score is missing.
    """
    worst, rows, notes = HOLDS, [], []
    if any(key.startswith(FOLDS) for key in gate.thresholds) and (why := why_no_folds(metrics, Revision())):
        # Scores of other settings are scores of another model.
        metrics = {name: content for name, content in metrics.items() if name != "folds"}
        notes.append(why)
    for key, threshold in gate.thresholds.items():
        value = look_up(metrics, key)
        status, word = verdict(value, threshold)
        worst = max(worst, status)
        rows.append([key, shown(value), wanted(threshold), word])
    if gate.min_gain is not None:
        status, row = gain_row(metrics, gate.min_gain)
        worst = max(worst, status)
        rows.append(row)
    if not rows:
        notes.append("params.yaml sets no threshold")
    return worst, Section("Thresholds", ["metric", "found", "wanted", ""], rows, notes)
