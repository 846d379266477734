"""What each section of the report shows, from the files of one revision; a section without its files has none.

Sections are plain dictionaries for finetune/html/report.html. `missing` in one says how to get what it lacks.
"""

import csv
import difflib
import io
import json
from pathlib import Path

from markupsafe import Markup, escape

from finetune.report import charts
from finetune.report.charts import Figure, Point
from finetune.results.revisions import Revision
from finetune.wording.classifiers import described, ranked
from finetune.wording.numbers import dotted, one_line

EVALUATE, BASELINES, TRAIN = (Path("metrics/plots") / name for name in ("evaluate", "baseline_eval", "train"))
NEAR_DUPLICATES, SUSPICIOUS = (
    Path("data/predictions/near_duplicates.csv"),
    Path("data/predictions/suspicious_labels.csv"),
)
FAILURES = Path("data/predictions/behaviour.csv")
SOURCE = Path("data/tokenized/source.json")
LEARNING_CURVE = Path("metrics/learning_curve.csv")
EXAMPLES = 2  # of each edit that changes the model's mind
LISTED = 25  # rows of a list for a person to check; the file has all
GROUPS = 10
EDITS = {
    "typos": "two letters of some words swapped",
    "case": "all in lower case, or in capitals",
    "contractions": "“don’t” for “do not”, or the other way",
    "neutral": "a sentence without opinion put before it",
    "negation": "the opposite said: the label should flip",
}
KINDS = {"length": "Length", "truncated": "Cut to the maximum length", "negation": "Negation", "label": "True label"}
CALIBRATION = {"ece": "Calibration error (ECE)", "brier": "Brier score", "log_loss": "Log loss"}


def table(revision: Revision, path: Path) -> list[dict[str, str]]:
    """Rows of a CSV or TSV file, none where it is missing."""
    if not revision.has(path):
        return []
    return list(csv.DictReader(io.StringIO(revision.text(path)), delimiter="\t" if path.suffix == ".tsv" else ","))


def line(revision: Revision, path: Path, x: str, y: str) -> list[tuple[float, float]]:
    """Points of a curve from two columns of a file; cells without a number are left out."""
    return [(float(row[x]), float(row[y])) for row in table(revision, path) if row.get(x) and row.get(y)]


def point(name: str, block: dict, note: str = "", strong: bool = False, key: str = "accuracy") -> Point:
    """A score-like entry of a metrics file as a point with its interval."""
    return Point(name, block[key], block["interval"]["low"], block["interval"]["high"], note, strong)


def baselines(metrics: dict) -> dict:
    """All classifiers, the best first, as chart and table."""
    blocks = ranked(metrics["test"], metrics["baseline"]).items()
    points = [point(name, block, described(name), name == "fine-tuned") for name, block in blocks]
    rows = [(name, described(name), block, name == "fine-tuned") for name, block in blocks]
    return {"figure": charts.forest(points, "Test accuracy of every classifier with its 95% interval"), "rows": rows}


def training(revision: Revision, metrics: dict) -> dict:
    """Loss and validation scores over the steps."""
    folder = TRAIN / "plots/metrics"
    loss = {split: line(revision, folder / split / "loss.tsv", "step", "loss") for split in ("train", "validation")}
    scores = {name: line(revision, folder / f"validation/{name}.tsv", "step", name) for name in ("accuracy", "f1")}
    if not all(loss.values()):
        return {"missing": "The training curves are in metrics/plots/train; `make repro` writes them."}
    return {
        "train": metrics.get("train"),
        "loss": charts.curves(loss, "step", "cross-entropy", "Training and validation loss over the steps"),
        "scores": charts.curves(
            {"accuracy": scores["accuracy"], "macro F1": scores["f1"]},
            "step",
            "score on validation",
            "Scores on validation after each epoch",
            shares=(False, True),
            dots=True,
        )
        if all(scores.values())
        else None,
    }


def one_curve(sources: dict[str, tuple[Revision, Path, str]], x: str, titles: tuple[str, str], **how) -> Figure | None:
    """Curves of the same kind from several files, those that are there; None where there are none."""
    series = {name: line(revision, path, x, y) for name, (revision, path, y) in sources.items()}
    series = {name: points for name, points in series.items() if points}
    label = f"{titles[1]} over {titles[0]}, for {', '.join(series)}"
    return charts.curves(series, *titles, label, shares=(True, True), **how) if series else None


def confusion(revision: Revision, names: list[str]) -> list[list[int]]:
    """Test rows by true label (rows) and predicted label (columns)."""
    counts = {(actual, predicted): 0 for actual in names for predicted in names}
    for row in table(revision, EVALUATE / "confusion.csv"):
        counts[row["actual"], row["predicted"]] += 1
    return [[counts[actual, predicted] for predicted in names] for actual in names]


def classes(revision: Revision, metrics: dict) -> dict:
    """Confusion matrix, scores of each label, ROC and precision-recall curve."""
    names = list(metrics["test"]["per_class"])
    best = f"{metrics['baseline']['best']} (best baseline)" if "baseline" in metrics else "best baseline"
    counts = confusion(revision, names)
    roc = {
        "fine-tuned": (revision, EVALUATE / "roc.csv", "fine-tuned"),
        best: (revision, BASELINES / "roc.csv", "baseline"),
    }
    precision = {name: (revision, path.with_name("precision_recall.csv"), y) for name, (_, path, y) in roc.items()}
    return {
        "names": names,
        "counts": [(name, row, sum(row) or 1) for name, row in zip(names, counts, strict=True)],
        "per_class": metrics["test"]["per_class"],
        "absent": metrics["test"].get("absent", []),
        "roc": one_curve(roc, "false_positive_rate", ("false positive rate", "true positive rate"), diagonal=True),
        "precision_recall": one_curve(precision, "recall", ("recall", "precision")),
    }


def calibration(revision: Revision, metrics: dict) -> dict:
    """Reliability before and after temperature scaling, and the accuracy kept when the least confident rows are set aside."""
    test = metrics["test"]
    scaled = test.get("calibration")
    reliability = {
        "as trained": (revision, EVALUATE / "reliability.csv", "accuracy"),
        "after scaling": (revision, EVALUATE / "reliability_scaled.csv", "accuracy"),
    }
    kept = table(revision, EVALUATE / "selective.csv")
    bands = {
        "accuracy": [(float(row["coverage"]), float(row["low"]), float(row["high"])) for row in kept if row["accuracy"]]
    }
    confidence = [
        (float(row["confidence"]), float(row["right"]), float(row["wrong"]))
        for row in table(revision, EVALUATE / "confidence.csv")
    ]
    return {
        "temperature": scaled and scaled["temperature"],
        "rows": [
            (name, test[key], test.get("intervals", {}).get(key), scaled and scaled.get(key))
            for key, name in CALIBRATION.items()
            if key in test
        ],
        "reliability": one_curve(
            reliability, "confidence", ("confidence of the prediction", "share that is right"), diagonal=True, dots=True
        ),
        "confidence": charts.stacked(confidence, "confidence of the prediction", "test rows", "Rows by confidence")
        if confidence
        else None,
        "selective": one_curve(
            {"accuracy": (revision, EVALUATE / "selective.csv", "accuracy")},
            "coverage",
            ("share of rows answered, the most confident first", "accuracy on them"),
            bands=bands,
        ),
        "kept": [(f"{name.removeprefix('keep_')}%", block) for name, block in test.get("selective", {}).items()],
        "missing": None
        if scaled
        else "Scores after temperature scaling and selective accuracy: run `make repro`, whose stage evaluate writes them.",
    }


def slices(revision: Revision, metrics: dict) -> dict:
    """Accuracy on parts of the test rows, the worst named; of many groups only the lowest are listed."""
    found = metrics.get("slices")
    if not found:
        return {"missing": "Scores of slices are in metrics/slices.json; `make repro` writes it."}
    overall = metrics["test"]["accuracy"]
    worst = found.get("worst")
    points = [
        point(f"{KINDS[kind]}: {name}", block, strong=bool(worst) and worst["slice"] == f"{kind}: {name}")
        for kind in KINDS
        for name, block in found.get(kind, {}).items()
    ]
    if worst and not any(each.strong for each in points):
        points.append(point(worst["slice"], worst, strong=True))
    rows = table(revision, EVALUATE / "slices.csv")
    groups = sorted(
        (row for row in rows if row["kind"] == "group"), key=lambda row: (float(row["accuracy"]), -int(row["rows"]))
    )
    named = [(KINDS[kind], name, block) for kind in KINDS for name, block in found.get(kind, {}).items()]
    return {
        "worst": worst,
        "number": (worst or {}).get("compared") or len(rows) or len(points),
        "figure": charts.forest(points, "Accuracy of each slice with its 95% interval", overall) if points else None,
        "rows": named,
        "groups": [{**row, **{key: float(row[key]) for key in ("accuracy", "low", "high")}} for row in groups[:GROUPS]],
        "all_groups": len(groups),
        "overall": overall,
    }


def marked(before: str, after: str) -> tuple[Markup, Markup]:
    """Both texts, escaped, with the words that differ in <del> and <ins>."""
    old, new = before.split(), after.split()
    left, right = [], []
    for kind, *(i, j, k, m) in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        was, now = escape(" ".join(old[i:j])), escape(" ".join(new[k:m]))
        left.append(was if kind == "equal" else Markup("<del>{}</del>").format(was) if was else was)
        right.append(now if kind == "equal" else Markup("<ins>{}</ins>").format(now) if now else now)
    return tuple(Markup(" ").join(part for part in side if part) for side in (left, right))


def behaviour(revision: Revision, metrics: dict) -> dict:
    """Failure rates of edits that should not change the label (or should flip it), with a few failing examples."""
    found = metrics.get("behaviour")
    if not found:
        return {"missing": "Behaviour under edits is in metrics/behaviour.json; `make repro` writes it."}
    failures = table(revision, FAILURES)
    points = [
        point(edit, block, EDITS.get(edit, edit), strong=True, key="failure_rate") for edit, block in found.items()
    ]
    examples = [
        (row, marked(row["before"], row["after"]))
        for edit in found
        for row in [row for row in failures if row["edit"] == edit][:EXAMPLES]
    ]
    return {
        "rows": [(edit, EDITS.get(edit, edit), block) for edit, block in found.items()],
        "figure": charts.forest(points, "Failure rate of each edit with its 95% interval"),
        "examples": examples,
        "without_examples": None
        if failures
        else f"Failing examples are in {FAILURES}; `dvc pull` or `make repro` brings it.",
    }


def data(revision: Revision, metrics: dict) -> dict:
    """Rows of each split, what was dropped, near-duplicates and suspicious labels."""
    checks = metrics.get("checks")
    duplicates, suspicious = table(revision, NEAR_DUPLICATES), table(revision, SUSPICIOUS)
    return {
        "data": metrics.get("data"),
        "dropped": [f"{count} {why}" for why, count in metrics.get("data", {}).get("dropped", {}).items() if count],
        "checks": checks,
        "duplicates": sorted(duplicates, key=lambda row: -float(row["similarity"]))[:LISTED],
        "all_duplicates": len(duplicates),
        "suspicious": sorted(suspicious, key=lambda row: -float(row["confidence"]))[:LISTED],
        "all_suspicious": len(suspicious),
        "missing": None
        if checks
        else "Near-duplicates and suspicious labels are counted in metrics/checks.json; `make repro` writes it.",
        "without_lists": checks
        and not revision.has(SUSPICIOUS)
        and f"The lists are in {NEAR_DUPLICATES.parent}; `dvc pull` or `make repro` brings them.",
    }


def more_rows(revision: Revision, settings: str) -> dict:
    """The learning curve, where it belongs to these settings."""
    rows = table(revision, LEARNING_CURVE)
    if not rows:
        return {"missing": "How the score grows with the rows: `make learning-curve` trains on 250, 500, … all rows."}
    if rows[0].get("settings") != settings:
        return {
            "missing": "metrics/learning_curve.csv belongs to other settings; `make learning-curve` draws it for these."
        }
    names = sorted({row["classifier"] for row in rows}, key=lambda name: name != "fine-tuned")
    chosen = {name: [row for row in rows if row["classifier"] == name] for name in names}
    series = {name: [(float(row["rows"]), float(row["accuracy"])) for row in found] for name, found in chosen.items()}
    bands = {
        name: [(float(row["rows"]), float(row["low"]), float(row["high"])) for row in found]
        for name, found in chosen.items()
    }
    label = "Test accuracy over the number of training rows"
    figure = charts.curves(
        series, "training rows", "test accuracy", label, shares=(False, True), bands=bands, dots=True, log=True
    )
    return {"figure": figure, "rows": rows}


def seeds(metrics: dict, settings: str) -> dict:
    """Mean and spread over several trainings, where they belong to these settings."""
    found = metrics.get("seeds")
    if not found:
        return {"missing": "What another seed would change: `make seeds` trains several and reports mean and spread."}
    if found.get("settings") != settings:
        return {"missing": "metrics/seeds.json belongs to other settings; `make seeds` trains these."}
    blocks = {name: block for name, block in found.items() if isinstance(block, dict) and "mean" in block}
    return {"seeds": found["seeds"], "blocks": blocks}


def parameters(params: dict) -> dict[str, list[tuple[str, str]]]:
    """Every setting by its section."""
    return {
        section: [(key, one_line(value)) for key, value in dotted(values).items()]
        if isinstance(values, dict)
        else [("", one_line(values))]
        for section, values in params.items()
    }


def source(revision: Revision) -> dict:
    """Where the rows and the model really came from, as tokenize recorded it."""
    if not revision.has(SOURCE):
        return {"missing": f"Checksums of data and model are in {SOURCE}; `dvc pull` or `make repro` brings it."}
    return {"rows": [(key, one_line(value)) for key, value in dotted(json.loads(revision.text(SOURCE))).items()]}
