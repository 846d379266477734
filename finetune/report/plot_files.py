"""Tables and curves of a revision from the files that its stages wrote, as figures of the report."""

import csv
import io
from pathlib import Path

from finetune.evaluation.spreadsheet import read_spreadsheet
from finetune.report import charts
from finetune.report.charts import Figure, Point
from finetune.results.revisions import Revision

EVALUATE, BASELINES, TRAIN = (Path("metrics/plots") / name for name in ("evaluate", "baseline_eval", "train"))


def table(revision: Revision, path: Path) -> list[dict[str, str]]:
    """Rows of a CSV or TSV file; an empty list if it is missing."""
    if not revision.has(path):
        return []
    return list(csv.DictReader(io.StringIO(revision.text(path)), delimiter="\t" if path.suffix == ".tsv" else ","))


def review_list(revision: Revision, path: Path) -> list[dict[str, str]]:
    """Rows of a file in data/predictions/ for a person to look at; an empty list if it is missing."""
    return read_spreadsheet(revision.text(path)) if revision.has(path) else []


def line(revision: Revision, path: Path, x: str, y: str) -> list[tuple[float, float]]:
    """Points of a curve from two columns of a file; cells without a number are left out."""
    return [(float(row[x]), float(row[y])) for row in table(revision, path) if row.get(x) and row.get(y)]


def point(name: str, block: dict, note: str = "", strong: bool = False, key: str = "accuracy") -> Point:
    """An entry of a metrics file as a point with its interval."""
    return Point(name, block[key], block["interval"]["low"], block["interval"]["high"], note, strong)


def one_curve(sources: dict[str, tuple[Revision, Path, str]], x: str, titles: tuple[str, str], **how) -> Figure | None:
    """Curves of the same kind from those of several files that exist; None if none does."""
    series = {name: line(revision, path, x, y) for name, (revision, path, y) in sources.items()}
    series = {name: points for name, points in series.items() if points}
    label = f"{titles[1]} over {titles[0]}, for {', '.join(series)}"
    return charts.curves(series, *titles, label, shares=(True, True), **how) if series else None


def curves_of_labels(revision: Revision, metrics: dict) -> dict[str, Figure | None]:
    """ROC and precision-recall curve of the model and of the best baseline, the mean over the labels if there are more than two."""
    best = f"{metrics['baseline']['best']} (best baseline)" if "baseline" in metrics else "best baseline"
    roc = {
        "fine-tuned": (revision, EVALUATE / "roc.csv", "fine-tuned"),
        best: (revision, BASELINES / "roc.csv", "baseline"),
    }
    precision = {name: (revision, path.with_name("precision_recall.csv"), y) for name, (_, path, y) in roc.items()}
    return {
        "roc": one_curve(roc, "false_positive_rate", ("false positive rate", "true positive rate"), diagonal=True),
        "precision_recall": one_curve(precision, "recall", ("recall", "precision")),
    }
