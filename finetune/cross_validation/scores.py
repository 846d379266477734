"""Scores over the rows of all folds: each row counts once, answered by a model that was not trained on it.

The intervals are over the rows, or over whole groups, as if the answers of different folds were independent. They are not,
because any two folds train on many of the same rows, and no unbiased estimator of that variance exists: Bengio and
Grandvalet 2004. docs/results.md says what follows from it.
"""

import math

import numpy as np

from finetune.base.errors import UserError
from finetune.cross_validation.answers import Answered, Answers
from finetune.cross_validation.intervals import accuracy_interval, gain
from finetune.wording.names import BASELINES


def pooled_scores(folds: list[Answers], bin_count: int) -> dict:
    """Content of metrics/folds.json: the headline scores of all rows together, by the names that metrics/test.json has.

    `mean`, `spread` and `values` are over the folds; `best` names the baseline with the highest accuracy on these rows.
    Raises UserError if a row is in two folds, or the folds have different labels.
    """
    names = folds[0].label_names
    rows = np.concatenate([fold.rows for fold in folds])
    if len(np.unique(rows)) < len(rows) or any(fold.label_names != names for fold in folds):
        raise UserError("the folds are not of one split; forget them with `dvc exp remove` and start again")
    task, truth, groups = folds[0].task, np.concatenate([fold.labels for fold in folds]), all_groups(folds)
    probabilities, answers = joined([fold.ours for fold in folds])
    right = task.right(truth, answers)
    block = task.block(truth, probabilities, answers, names)
    of_probabilities, intervals = task.measured(truth, probabilities, answers, bin_count, groups)
    block["interval"] = intervals["accuracy"] = accuracy_interval(right, groups)
    baselines = baseline_scores(folds, truth, groups, names)
    best = max(baselines, key=lambda name: baselines[name]["accuracy"])
    theirs = task.right(truth, joined([fold.baselines[best] for fold in folds]).answers)
    return {
        "folds": len(folds),
        "fold_rows": [len(fold.rows) for fold in folds],
        "groups": None if groups is None else len(np.unique(groups)),
        **block,
        **of_probabilities,
        "intervals": intervals,
        "gain": gain(right, theirs, groups),
        **over_folds([fold.metrics["test"] for fold in folds], task.scores),
        "best": best,
        "baselines": baselines,
        "skipped": skipped(folds),
    }


def joined(parts: list[Answered]) -> Answered:
    """Answers to the rows of all folds, one fold after another."""
    return Answered(*map(np.concatenate, zip(*parts, strict=True)))


def all_groups(folds: list[Answers]) -> np.ndarray | None:
    """Group of each row, an integer; a row without one is a group of its own. None if no two rows share a group."""
    keys = [group or ("", row) for fold in folds for group, row in zip(fold.groups, fold.rows.tolist(), strict=True)]
    number = {key: position for position, key in enumerate(dict.fromkeys(keys))}
    return np.array([number[key] for key in keys]) if len(number) < len(keys) else None


def over_folds(blocks: list[dict], scores) -> dict[str, dict]:
    """Mean over the folds, standard deviation between them (n - 1), and the values, of each score."""
    values = {name: [block[name] for block in blocks] for name in scores}
    return {
        "mean": {name: float(np.mean(found)) for name, found in values.items()},
        "spread": {name: float(np.std(found, ddof=1)) for name, found in values.items()},
        "values": values,
    }


def baseline_scores(folds: list[Answers], truth: np.ndarray, groups: np.ndarray | None, names: list[str]) -> dict:
    """The brief scores and the interval over all rows of each baseline that ran in every fold, with mean and spread over folds."""
    scores, task = {}, folds[0].task
    for name in BASELINES:
        if not all(name in fold.baselines for fold in folds):
            continue
        blocks = [fold.metrics["baseline"][name] for fold in folds]
        if name == "few_shot":
            pooled = pooled_draws(blocks, [len(fold.rows) for fold in folds])
        else:
            probabilities, answers = joined([fold.baselines[name] for fold in folds])
            block = task.block(truth, probabilities, answers, names)
            pooled = {key: block[key] for key in task.brief}
            pooled["interval"] = accuracy_interval(task.right(truth, answers), groups)
        scores[name] = pooled | over_folds(blocks, task.brief)
    return scores


def pooled_draws(blocks: list[dict], rows: list[int]) -> dict:
    """Scores of few_shot, each a mean over draws, whose answers are not stored: means over the folds, by their rows.

    The intervals of the folds, over draws and rows, combine as those of independent parts.
    """
    share = np.array(rows) / sum(rows)
    accuracy, f1 = (float(share @ [block[name] for block in blocks]) for name in ("accuracy", "f1"))
    halves = [(block["interval"]["high"] - block["interval"]["low"]) / 2 for block in blocks]
    half = math.sqrt(sum((share * halves) ** 2))
    return {
        "accuracy": accuracy,
        "f1": f1,
        "interval": {"low": max(accuracy - half, 0), "high": min(accuracy + half, 1)},
    }


def skipped(folds: list[Answers]) -> dict[str, str]:
    """Baselines that did not run in every fold, each with the first reason."""
    reasons: dict[str, str] = {}
    for fold in folds:
        reasons = fold.metrics["baseline"].get("skipped", {}) | reasons
    return reasons
