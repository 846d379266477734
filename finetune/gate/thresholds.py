"""Stop a model that is not good enough, or worse than the one it would replace.

    python -m finetune.gate                     (make gate) metrics/ against `gate:` in params.yaml
    python -m finetune.gate --against main      (make gate AGAINST=main) that, and no metric significantly worse than at
                                                the commit that HEAD shares with main; finetune/gate/noise.py says what is noise
    python -m finetune.gate --markdown FILE     the same as a Markdown page with scores and charts

Exit status: 0 all hold, 1 one falls short, 2 it could not tell: one is missing, is no number, or cannot be read.
"""

import argparse
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from finetune.base.errors import UserError
from finetune.base.params import Gate, Threshold, read_params
from finetune.gate.noise import ABSENT, Difference, changed_params, compare, is_number, why_unpaired
from finetune.gate.page import Section, page
from finetune.results.metrics import look_up, read_metrics
from finetune.results.revisions import Revision, commit_of, merge_base
from finetune.wording.numbers import one_line, shortened

HOLDS, FALLS_SHORT, CANNOT_TELL = range(3)
VERDICTS = ("The gate holds", "The gate stops this: it falls short", "The gate could not tell")
STATUS = {"worse": FALLS_SHORT, "missing": CANNOT_TELL, "not a number": CANNOT_TELL}  # other verdicts hold
SHOWN = 20  # parameters that differ
CELL = 60  # characters of a parameter's value that a table has room for


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


def found(value) -> str:
    """A metric as the table shows it, whatever it is."""
    return "-" if value is None else f"{value:.4g}" if is_number(value) else str(value)[:20]


def gain_row(metrics: dict, min_gain: float) -> tuple[int, list[str]]:
    """Whether the gain over the best baseline is large enough and all of its interval above 0, and the row that says so."""
    value, low = look_up(metrics, "test.gain.value"), look_up(metrics, "test.gain.low")
    status, word = max(verdict(value, Threshold(min=min_gain)), verdict(low, Threshold(min=0)))
    if status == HOLDS and low == 0:
        status, word = FALLS_SHORT, "falls short"
    return status, ["min_gain", f"{found(value)}, from {found(low)}", f"at least {min_gain:g}, from above 0", word]


def check(metrics: dict, gate: Gate) -> tuple[int, Section]:
    """Worst verdict over all thresholds, and the table of metric, found, wanted and verdict."""
    worst, rows = HOLDS, []
    for key, threshold in gate.thresholds.items():
        value = look_up(metrics, key)
        status, word = verdict(value, threshold)
        worst = max(worst, status)
        rows.append([key, found(value), wanted(threshold), word])
    if gate.min_gain is not None:
        status, row = gain_row(metrics, gate.min_gain)
        worst = max(worst, status)
        rows.append(row)
    notes = [] if rows else ["params.yaml sets no threshold"]
    return worst, Section("Thresholds", ["metric", "found", "wanted", ""], rows, notes)


def difference_row(difference: Difference) -> list[str]:
    """One metric of two revisions as text."""
    cells = [
        difference.metric,
        *(f"{side:.4f}" if side is not None else "-" for side in (difference.base, difference.head)),
    ]
    if difference.low is None:
        return [*cells, "-", "-", difference.verdict]
    change = difference.head - difference.base
    return [*cells, f"{change:+.4f}", f"{difference.low:+.4f} to {difference.high:+.4f}", difference.verdict]


def parameter_cell(value) -> str:
    """A parameter's value as the table shows it; `ABSENT` where a revision does not have it."""
    return value if value == ABSENT else shortened(one_line(value), CELL)


def against(rev: str) -> Iterator[tuple[int, Section]]:
    """Status and tables of the comparison with the merge base of HEAD and a revision."""
    base, head = Revision(merge_base(rev)), Revision()
    title = f"Against {rev} (merge base {base})"
    if base.metrics()["test"] == head.metrics()["test"]:
        same = "the merge base is this commit, and " if base.commit == commit_of("HEAD") else ""
        yield HOLDS, Section(title, notes=[f"Nothing to compare: {same}no metric of the test rows differs."])
    else:
        differences = compare(base, head)
        status = max((STATUS.get(difference.verdict, HOLDS) for difference in differences), default=HOLDS)
        hows = list(dict.fromkeys(difference.how for difference in differences if difference.how))
        notes = [f"Compared: {' and '.join(hows)}."] if hows else []
        if "intervals in Git" in hows:
            notes.append(f"Not paired row by row: {why_unpaired(base, head)}.")
        header = ["metric", str(base), str(head), "difference", "95% interval", ""]
        yield status, Section(title, header, [difference_row(difference) for difference in differences], notes)
    changed = changed_params(base, head)
    if changed:
        rows = [[key, parameter_cell(old), parameter_cell(new)] for key, old, new in changed[:SHOWN]]
        notes = [f"and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
        yield HOLDS, Section("Parameters that differ", ["parameter", str(base), str(head)], rows, notes)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m finetune.gate", description="Stop a model that is not good enough."
    )
    parser.add_argument("--against", metavar="REVISION", help="also compare with the merge base of HEAD and this")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables, scores and charts there too")
    arguments = parser.parse_args()
    worst, sections, metrics = HOLDS, [], {}
    try:
        gate, metrics = read_params("gate"), read_metrics()
        parts = [check(metrics, gate)]
        if arguments.against:
            parts = chain(parts, against(arguments.against))
        for status, section in parts:
            worst = max(worst, status)
            print("\n" * bool(sections) + section.text())
            sections.append(section)
    except UserError as error:
        worst = CANNOT_TELL
        sections.append(Section("Error", notes=[str(error)]))
        raise
    finally:
        if arguments.markdown:
            arguments.markdown.write_text(page(VERDICTS[worst], sections, metrics), encoding="utf-8")
    return worst
