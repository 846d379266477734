"""Sections for several labels per text, where those for one label do not fit: the labels, the gains, and the wrong sets."""

from pathlib import Path

from finetune.report import charts, row_browser
from finetune.report.charts import Point
from finetune.report.plot_files import curves_of_labels, review_list
from finetune.results.revisions import Revision
from finetune.wording.classifiers import baseline_notes, described, ranked
from finetune.wording.names import OURS, SET_SCORES

MISTAKES = Path("data/predictions/mistakes.csv")
TILES = ("micro_f1", "f1")


def tiles(test: dict) -> list[tuple[str, float, dict]]:
    """Title, value and interval of the scores at the top of the page."""
    return [(SET_SCORES[name], test[name], test["intervals"][name]) for name in TILES]


def baselines(metrics: dict) -> dict:
    """All classifiers as a chart and a table, the best micro F1 first; and the gain over each baseline."""
    blocks = sorted(ranked(metrics["test"], metrics["baseline"]).items(), key=lambda item: -item[1]["micro_f1"])
    points = [
        Point(name, block["micro_f1"], *block["intervals"]["micro_f1"].values(), described(name), name == OURS)
        for name, block in blocks
    ]
    return {
        "figure": charts.forest(points, "Micro F1 of every classifier with its 95% interval"),
        "sets": [(name, described(name), block, name == OURS) for name, block in blocks],
        "gains": [(name, described(name), of["micro_f1"], of["f1"]) for name, of in metrics["test"]["gains"].items()],
        "skipped": baseline_notes(metrics["baseline"]),
    }


def classes(revision: Revision, metrics: dict) -> dict:
    """Scores, threshold and temperature of each label, scores of sets, ROC and precision-recall curve."""
    test = metrics["test"]
    return {
        "label_names": list(test["per_class"]),
        "per_class": test["per_class"],
        "thresholds": test["thresholds"],
        "temperatures": test["calibration"]["temperatures"],
        "absent": test["absent"],
        "scores": [(title, test[name], test["intervals"][name]) for name, title in SET_SCORES.items()],
    } | curves_of_labels(revision, metrics)


def mistakes(revision: Revision, _label_names: list[str]) -> dict:
    """The listed rows with a wrong set, to be searched, first those with the surest wrong label."""
    rows = review_list(revision, MISTAKES)
    if not rows:
        return {"missing": f"Wrong sets are in {MISTAKES}; `dvc pull` or `make repro` brings it."}
    columns = [
        {"name": "Row", "kind": "number"},
        row_browser.choice("True labels", (row["label"] for row in rows), []),
        row_browser.choice("Predicted", (row["predicted"] for row in rows), []),
        {"name": "Surest wrong label", "kind": "share"},
    ]
    listed = [[int(row["row"]), row["label"], row["predicted"], round(float(row["confidence"]), 4)] for row in rows]
    return {"browser": row_browser.browsable(columns, listed, [row["text"] for row in rows])}
