"""The gate's comparison with another revision: metrics and parameters that differ, as tables."""

from collections.abc import Iterator

from finetune.gate.noise import ABSENT, Difference, changed_params, metric_differences, why_unpaired
from finetune.gate.page import Section
from finetune.gate.thresholds import CANNOT_TELL, FALLS_SHORT, HOLDS
from finetune.results.comparable import why_not_comparable
from finetune.results.revisions import Revision, commit_of, merge_base
from finetune.wording.numbers import one_line, shortened

STATUS = {"worse": FALLS_SHORT, "missing": CANNOT_TELL, "not a number": CANNOT_TELL}  # every other verdict holds
SHOWN = 20  # parameters that differ
CELL = 60  # characters of a parameter's value


def difference_row(difference: Difference) -> list[str]:
    """One metric at both revisions, as the cells of a row."""
    cells = [
        difference.metric,
        *(f"{side:.4f}" if side is not None else "-" for side in (difference.base, difference.head)),
    ]
    if difference.low is None:
        return [*cells, "-", "-", difference.verdict]
    change = difference.head - difference.base
    return [*cells, f"{change:+.4f}", f"{difference.low:+.4f} to {difference.high:+.4f}", difference.verdict]


def parameter_cell(value) -> str:
    """A parameter's value as the table shows it; `ABSENT` where a revision lacks it."""
    return value if value == ABSENT else shortened(one_line(value), CELL)


def compare_with(rev: str) -> Iterator[tuple[int, Section]]:
    """Status and tables of the workspace compared with the merge base of HEAD and a revision."""
    base, head = Revision(merge_base(rev)), Revision()
    title = f"Against {rev} (merge base {base})"
    if base.metrics()["test"] == head.metrics()["test"]:
        same = "the merge base is this commit, and " if base.commit == commit_of("HEAD") else ""
        yield HOLDS, Section(title, notes=[f"Nothing to compare: {same}no metric of the test rows differs."])
    elif why := why_not_comparable(base, head):
        # The comparison was asked for and cannot be made: a gate that passed here could be passed by changing the data.
        yield CANNOT_TELL, Section(title, notes=[f"No verdict on any metric: {why}."])
    else:
        differences = metric_differences(base, head)
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
