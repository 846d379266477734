"""Two revisions side by side: metrics, parameters that differ, curves, and the rows that only one of them gets right."""

from finetune.gate.noise import ABSENT, Difference, changed_params, metric_differences, paired_predictions, why_unpaired
from finetune.report import charts, row_browser
from finetune.report.plot_files import EVALUATE, TRAIN, line
from finetune.results.comparable import why_not_comparable
from finetune.results.revisions import Revision
from finetune.wording.numbers import one_line

HERE = "this revision"
SHARES, NUMBERS = (True, True), (False, False)
CURVES = (  # title, file, its two columns, their names on the axes, and whether these are shares
    (
        "ROC curve",
        EVALUATE / "roc.csv",
        "false_positive_rate",
        "fine-tuned",
        ("false positive rate", "true positive rate"),
        SHARES,
    ),
    (
        "Precision and recall",
        EVALUATE / "precision_recall.csv",
        "recall",
        "fine-tuned",
        ("recall", "precision"),
        SHARES,
    ),
    (
        "Reliability",
        EVALUATE / "reliability_scaled.csv",
        "confidence",
        "accuracy",
        ("confidence", "share that is right"),
        SHARES,
    ),
    ("Training loss", TRAIN / "plots/metrics/train/loss.tsv", "step", "loss", ("step", "cross-entropy"), NUMBERS),
    (
        "Validation loss",
        TRAIN / "plots/metrics/validation/loss.tsv",
        "step",
        "loss",
        ("step", "cross-entropy"),
        NUMBERS,
    ),
)


def overlaid(base: Revision, head: Revision, same_rows: bool) -> list[tuple[str, charts.Figure]]:
    """Curves that both revisions have, by their titles, in one chart each; those of the test rows only if these are the same."""
    overlays = []
    for title, path, x, y, axes, shares in CURVES:
        if not same_rows and EVALUATE in path.parents:
            continue
        series = {HERE: line(head, path, x, y), str(base): line(base, path, x, y)}
        if all(series.values()):
            label = f"{title} of {HERE} and of {base}"
            overlays.append((title, charts.curves(series, *axes, label, shares=shares, dots=title == "Reliability")))
    return overlays


def rows_apart(base: Revision, head: Revision, label_names: list[str]) -> dict:
    """Rows that one gets right and the other wrong, or one line on why they are not available."""
    pair = paired_predictions(base, head)
    if pair is None:
        return {"missing": f"Rows cannot be compared: {why_unpaired(base, head)}."}
    if not row_browser.TEXTS.is_file():
        return {"missing": f"Rows cannot be shown without {row_browser.TEXTS}; `dvc pull` or `make repro` brings it."}
    return {"browser": row_browser.disagreements(*pair, row_browser.texts_by_row(), label_names, str(base))}


def sentence(differences: list[Difference], base: Revision) -> str:
    """The verdicts in one sentence: "Better in accuracy; 7 metrics differ by no more than noise." """
    metrics = {}
    for difference in differences:
        metrics.setdefault(difference.verdict, []).append(difference.metric)
    significant = [f"{word} in {', '.join(metrics[word])}" for word in ("better", "worse") if word in metrics]
    if not significant:
        return f"No metric differs from {base} by more than the noise of rows and seeds."
    rest = len(metrics.get("within noise", []))
    return f"This revision is {' and '.join(significant)}" + (
        f"; {rest} other metrics differ by no more than noise." if rest else "."
    )


def against_section(base: Revision, head: Revision, label_names: list[str]) -> dict:
    """The section on how a revision compares with another; without verdicts where the test rows or labels differ."""
    why = why_not_comparable(base, head)
    differences = [] if why else metric_differences(base, head)
    return {
        "name": str(base),
        "commit": base.commit,
        "sentence": f"No verdict on any metric: {why}." if why else sentence(differences, base),
        "differences": differences,
        "parameters": [
            (key, *(value if value == ABSENT else one_line(value) for value in values))
            for key, *values in changed_params(base, head)
        ],
        "curves": overlaid(base, head, same_rows=not why),
        "rows": {"missing": "Rows cannot be compared: they are not the same."}
        if why
        else rows_apart(base, head, label_names),
    }
