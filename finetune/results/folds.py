"""metrics/folds.json, the cross-validation, and whether it belongs to the settings and the rows of the last run."""

from pathlib import Path

from finetune.results.comparable import raw_data
from finetune.results.experiments import settings_digest
from finetune.results.revisions import Revision
from finetune.wording.classifiers import by_sign
from finetune.wording.numbers import interval, percent, points

FOLDS = Path("metrics/folds.json")


def folds_digest(params: dict) -> str:
    """Eight hexadecimal digits that identify all settings of a cross-validation, `train.seed` included."""
    return settings_digest(params, without=("split.folds", "split.fold"))


def why_no_folds(metrics: dict, revision: Revision) -> str | None:
    """One line on why metrics/folds.json says nothing about a revision with these metrics; None where it does."""
    measured = metrics.get("folds")
    if measured is None:
        return f"{FOLDS} is missing; `make folds` writes it"
    if measured.get("settings") != folds_digest(revision.params()):
        return f"{FOLDS} belongs to other settings; `make folds` runs these"
    here = raw_data(revision)
    if here and measured.get("data") and measured["data"] != here:
        return f"{FOLDS} is about other rows than the last run; `make folds` runs these"
    return None


def folds_sentence(measured: dict) -> str:
    """The cross-validation in one sentence: accuracy and gain with their intervals, over all rows."""
    ends = measured["gain"]
    verdict = by_sign(ends, "fine-tuning helps", "fine-tuning hurts", "fine-tuning makes no significant difference")
    return (
        f"Cross-validation in {measured['folds']} folds, {measured['rows']} rows tested once each: accuracy "
        f"{percent(measured['accuracy'])} (95% interval {interval(measured['interval'])}); {verdict}, "
        f"{points(ends['value'])} points over {measured['best']} ({points(ends['low'])} to {points(ends['high'])})."
    )
