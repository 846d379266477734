"""Sections on the model's answers: against baselines, by label, confidence and slice, under edits, and where they are wrong.

Each function returns a dictionary for finetune/html/report.html. Without its files a section is empty, and `missing` in
it says how to get them.
"""

import difflib
from pathlib import Path

from markupsafe import Markup, escape

from finetune.base.errors import UserError
from finetune.base.names import normal_name
from finetune.report import charts, row_browser
from finetune.report.plot_files import EVALUATE, curves_of_labels, one_curve, point, review_list, table
from finetune.results.folds import why_no_folds
from finetune.results.revisions import Revision
from finetune.scoring.decisions import rule_sentence
from finetune.wording.classifiers import baseline_notes, by_sign, described, ranked
from finetune.wording.decisions import promise_rows
from finetune.wording.names import CALIBRATION, EDITS, HEADLINE, OURS, SET_SCORES, SLICES

FAILURES = Path("data/predictions/behaviour.csv")
EXAMPLES = 2  # of each edit that changes the model's answer
GROUPS = 10
SHOWN_LARGE = 6  # labels; a matrix of more has small cells, and a list of its most frequent mistakes
CONFUSIONS = 12
FEW = 500  # test rows; their accuracy has an interval of 8 points or more
SCORES = HEADLINE | {"roc_auc": "area under the ROC curve"} | CALIBRATION
SCORES_OF_SETS = SET_SCORES | {"roc_auc": "area under the ROC curve"} | CALIBRATION


def tiles(test: dict) -> list[tuple[str, float, dict | None]]:
    """Title, value and interval of the scores at the top of the page, besides accuracy and gain."""
    intervals = test.get("intervals") or {}
    return [(title, test[name], intervals.get(name)) for name, title in (("f1", "Macro F1"), ("roc_auc", "ROC AUC"))]


def baselines(metrics: dict) -> dict:
    """All classifiers as a chart and a table, best first."""
    blocks = ranked(metrics["test"], metrics["baseline"]).items()
    points = [point(name, block, described(name), name == OURS) for name, block in blocks]
    rows = [(name, described(name), block, name == OURS) for name, block in blocks]
    figure = charts.forest(points, "Test accuracy of every classifier with its 95% interval")
    return {"figure": figure, "rows": rows, "skipped": baseline_notes(metrics["baseline"])}


def folds(revision: Revision, metrics: dict) -> dict:
    """The cross-validation, if there is one of these settings and rows: every classifier on all rows, and each fold.

    Without one, a hint where the test rows are few.
    """
    measured = metrics.get("folds")
    if not measured:
        few = metrics["test"]["rows"] < FEW
        return {
            "hint": f"{metrics['test']['rows']} test rows are few: `make folds` tests every row once." if few else None
        }
    if why := why_no_folds(metrics, revision):
        return {"missing": f"{why}."}
    blocks = ranked(measured, measured["baselines"]).items()
    points = [point(name, block, described(name), name == OURS) for name, block in blocks]
    return {
        "measured": measured,
        "verdict": by_sign(measured["gain"], "Fine-tuning helps", "Fine-tuning hurts", "No significant difference"),
        "figure": charts.forest(points, "Accuracy of every classifier over all rows with its 95% interval"),
        "scores": [
            (
                title,
                measured[name],
                measured["intervals"].get(name),
                *(measured[part][name] for part in ("mean", "spread")),
            )
            for name, title in (SCORES_OF_SETS if "micro_f1" in measured else SCORES).items()
            if all(name in part for part in (measured, measured["mean"], measured["spread"]))
        ],
        "rows": list(zip(measured["fold_rows"], measured["values"].get("accuracy", []), strict=False)),
        "skipped": baseline_notes(measured),
    }


def confusion(revision: Revision, label_names: list[str]) -> list[list[int]]:
    """Test rows by true label (rows) and predicted label (columns)."""
    counts = {(actual, predicted): 0 for actual in label_names for predicted in label_names}
    for row in table(revision, EVALUATE / "confusion.csv"):
        pair = normal_name(row["actual"]), normal_name(row["predicted"])
        if pair not in counts:
            raise UserError(
                f"{EVALUATE / 'confusion.csv'} has the labels {' and '.join(pair)}, and metrics/test.json only "
                f"{', '.join(label_names)}; run `dvc repro evaluate`, which writes both"
            )
        counts[pair] += 1
    return [[counts[actual, predicted] for predicted in label_names] for actual in label_names]


def most_confused(label_names: list[str], counts: list[list[int]]) -> list[tuple[str, str, int, float]]:
    """True label, predicted label, test rows, and their share of the true label's rows, of the most frequent mistakes."""
    pairs = [
        (label_names[actual], label_names[predicted], count, count / sum(row))
        for actual, row in enumerate(counts)
        for predicted, count in enumerate(row)
        if count and actual != predicted
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:CONFUSIONS]


def classes(revision: Revision, metrics: dict) -> dict:
    """Confusion matrix, scores of each label, ROC and precision-recall curve."""
    label_names = list(metrics["test"]["per_class"])
    counts = confusion(revision, label_names)
    many = len(label_names) > SHOWN_LARGE
    return {
        "label_names": label_names,
        "counts": [(name, row, sum(row) or 1) for name, row in zip(label_names, counts, strict=True)],
        "many": many,
        "confused": most_confused(label_names, counts) if many else [],
        "per_class": metrics["test"]["per_class"],
        "absent": metrics["test"].get("absent", []),
    } | curves_of_labels(revision, metrics)


def calibration(revision: Revision, metrics: dict) -> dict:
    """Reliability after and before temperature scaling, and accuracy without the least confident rows."""
    test = metrics["test"]
    scaling = test.get("calibration") or {}
    before = scaling.get("uncalibrated") or {}
    reliability = {
        "calibrated": (revision, EVALUATE / "reliability_scaled.csv", "accuracy"),
        "as trained": (revision, EVALUATE / "reliability.csv", "accuracy"),
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
        "temperature": scaling.get("temperature"),
        "rows": [
            (name, test[key], (test.get("intervals") or {}).get(key), before.get(key))
            for key, name in CALIBRATION.items()
            if test.get(key) is not None
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
        "rule": rule_sentence(test["decision"]) if test.get("decision") else None,
        "promised": promise_rows(test["decision"]) if test.get("decision") else [],
        "kept": [(f"{name.removeprefix('keep_')}%", block) for name, block in test.get("selective", {}).items()],
        "missing": None
        if scaling
        else "Scores after temperature scaling and selective accuracy: run `make repro`, whose stage evaluate writes them.",
    }


def slices(revision: Revision, metrics: dict, label_title: str) -> dict:
    """Accuracy on parts of the test rows, the worst named, and the groups with the lowest accuracy."""
    scores = metrics.get("slices")
    if not scores:
        return {"missing": "Scores of slices are in metrics/detail/evaluate/slices.json; `make repro` writes it."}
    kinds = SLICES | {"label": label_title}
    overall = metrics["test"]["accuracy"]
    worst = scores.get("worst")
    points = [
        point(f"{kind}: {name}", block, strong=bool(worst) and worst["slice"] == f"{kind}: {name}")
        for kind in kinds
        for name, block in scores.get(kind, {}).items()
    ]
    if worst and not any(each.strong for each in points):
        points.append(point(worst["slice"], worst, strong=True))
    rows = table(revision, EVALUATE / "slices.csv")
    groups = sorted(
        (row for row in rows if row["kind"] == "group"), key=lambda row: (float(row["accuracy"]), -int(row["rows"]))
    )
    named = [(kinds[kind], name, block) for kind in kinds for name, block in scores.get(kind, {}).items()]
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


def edit_in_words(edit: str) -> str:
    """An edit as the card describes it, without the card's Markdown."""
    return EDITS.get(edit, edit).replace("*", "")


def behaviour(revision: Revision, metrics: dict) -> dict:
    """Failure rates of edits that should not change the answer (or should flip it), with a few failing examples."""
    rates = metrics.get("behaviour")
    if rates == {}:
        return {"missing": "No text was edited: evaluate.behaviour.rows is 0, or no edit changes any of the texts."}
    if rates is None:
        return {
            "missing": "Behaviour under edits is in metrics/detail/evaluate/behaviour.json; `make repro` writes it."
        }
    failures = review_list(revision, FAILURES)
    points = [point(edit, block, edit_in_words(edit), strong=True, key="failure_rate") for edit, block in rates.items()]
    examples = [
        (row, marked(row["before"], row["after"]))
        for edit in rates
        for row in [row for row in failures if row["edit"] == edit][:EXAMPLES]
    ]
    return {
        "rows": [(edit, edit_in_words(edit), block) for edit, block in rates.items()],
        "figure": charts.forest(points, "Failure rate of each edit with its 95% interval"),
        "examples": examples,
        "without_examples": None
        if failures
        else f"Failing examples are in {FAILURES}; `dvc pull` or `make repro` brings it.",
    }


def mistakes(revision: Revision, label_names: list[str]) -> dict:
    """The model's mistakes, to be searched."""
    predictions = revision.predictions()
    if predictions is None:
        return {
            "missing": f"Mistakes cannot be shown: {revision.why_no_predictions}. `dvc pull` or `make repro` brings them."
        }
    if not row_browser.TEXTS.is_file():
        return {
            "missing": f"Mistakes cannot be shown without {row_browser.TEXTS}; `dvc pull` or `make repro` brings it."
        }
    return {"browser": row_browser.wrong_rows(predictions, row_browser.texts_by_row(), label_names)}
