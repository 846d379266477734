"""Sections on how the model came about: its data, training, settings, sources and commit.

Each function returns a dictionary for finetune/html/report.html. Without its files a section is empty, and `missing` in
it says how to get them.
"""

import json
from pathlib import Path

from finetune.report import charts
from finetune.report.plot_files import TRAIN, line, review_list, table
from finetune.results.experiments import settings_digest
from finetune.results.revisions import Revision, git_output
from finetune.search.plots import best_so_far
from finetune.wording.numbers import dotted, one_line

NEAR_DUPLICATES = Path("data/predictions/near_duplicates.csv")
SUSPICIOUS = Path("data/predictions/suspicious_labels.csv")
SOURCE = Path("data/tokenized/source.json")
LEARNING_CURVE = Path("metrics/learning_curve.csv")
BEST = 5  # trials of a search
LISTED = 25  # rows of a list for a person to check; the file has all


def data(revision: Revision, metrics: dict) -> dict:
    """Rows of each split, dropped rows, near-duplicates and suspicious labels."""
    checks = metrics.get("checks")
    duplicates, suspicious = review_list(revision, NEAR_DUPLICATES), review_list(revision, SUSPICIOUS)
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
        else "Near-duplicates and suspicious labels are counted in metrics/detail/evaluate/checks.json; `make repro` writes it.",
        "without_lists": checks
        and not revision.has(SUSPICIOUS)
        and f"The lists are in {NEAR_DUPLICATES.parent}; `dvc pull` or `make repro` brings them.",
    }


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


def more_rows(revision: Revision, settings: str) -> dict:
    """The learning curve, if it belongs to these settings."""
    rows = table(revision, LEARNING_CURVE)
    if not rows:
        return {"missing": "`make learning-curve` trains on 64, 250, 500, … all rows and shows how the score grows."}
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
    """Mean and spread over several trainings, if they belong to these settings."""
    measured = metrics.get("seeds")
    if not measured:
        return {"missing": "`make seeds` trains with several seeds and reports mean and spread."}
    if measured.get("settings") != settings:
        return {"missing": "metrics/seeds.json belongs to other settings; `make seeds` trains these."}
    wanted = {"mean", "spread", "interval"}
    blocks = {name: block for name, block in measured.items() if isinstance(block, dict) and wanted <= set(block)}
    return {"seeds": measured.get("seeds", []), "blocks": blocks}


def search(metrics: dict, params: dict) -> dict:
    """Trials of a search, if it belongs to these settings: history, importance of each parameter, the best, the proposal."""
    found = metrics.get("search")
    if not found:
        return {"missing": "`make search` tries other settings and says whether any is better than noise."}
    trials, metric = found["trials"], found["metric"]
    names = list(trials[0]["settings"])
    if found["settings"] != settings_digest(params, without=tuple(names)):
        return {"missing": "metrics/search.json belongs to other settings; `make search` starts from these."}
    scored = sorted((trial for trial in trials if trial["value"] is not None), key=lambda trial: trial["value"])
    best = scored if metric.endswith("loss") else scored[::-1]
    series = {
        "best so far": best_so_far(trials, metric),
        "each trial": [(trial["trial"], trial["value"]) for trial in trials if trial["value"] is not None],
    }
    return {
        "figure": charts.curves(series, "trial", metric, f"{metric} of each trial, and the best so far", dots=True),
        "names": names,
        "rows": [(trial, [one_line(trial["settings"][name]) for name in names]) for trial in best[:BEST]],
        "counts": {
            state: sum(trial["state"] == state for trial in trials) for state in ("complete", "pruned", "failed")
        },
        "importances": found["importances"],
        "words": found["words"],
    }


def parameters(params: dict) -> dict[str, list[tuple[str, str]]]:
    """Every setting, by section."""
    return {
        section: [(key, one_line(value)) for key, value in dotted(values).items()]
        if isinstance(values, dict)
        else [("", one_line(values))]
        for section, values in params.items()
    }


def source(revision: Revision) -> dict:
    """Source of the rows and the model, as the stage tokenize recorded it."""
    if not revision.has(SOURCE):
        return {"missing": f"Checksums of data and model are in {SOURCE}; `dvc pull` or `make repro` brings it."}
    return {"rows": [(key, one_line(value)) for key, value in dotted(json.loads(revision.text(SOURCE))).items()]}


def provenance() -> dict:
    """The workspace's commit and the files that differ from it."""
    changed = [path[3:] for path in git_output("status", "--porcelain", "--untracked-files=no").splitlines()]
    commit, _, date = git_output("log", "-1", "--format=%H %cs").partition(" ")
    return {"commit": commit, "date": date, "subject": git_output("log", "-1", "--format=%s"), "changed": changed}
