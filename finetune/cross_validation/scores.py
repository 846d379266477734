"""Scores over the rows of all folds: each row counts once, answered by a model that was not trained on it.

The intervals are over the rows, or over whole groups, as if the answers of different folds were independent. They are not,
because any two folds train on many of the same rows, and no unbiased estimator of that variance exists: Bengio and
Grandvalet 2004. docs/results.md says what follows from it.
"""

import math

import numpy as np
from sklearn.metrics import roc_auc_score

from finetune.base.errors import UserError
from finetune.cross_validation.answers import Answers
from finetune.evaluation.calibration import probability_scores
from finetune.evaluation.resampling import HIGHER_IS_BETTER, NO_WIDTH, group_counts, score_intervals
from finetune.scoring.curves import confidence_bins, one_vs_rest
from finetune.scoring.intervals import CONFIDENCE, paired_gain, paired_interval, share_interval
from finetune.scoring.scores import score_block
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
    labels, probabilities, groups = (
        all_labels(folds),
        np.concatenate([f.probabilities for f in folds]),
        all_groups(folds),
    )
    right = probabilities.argmax(1) == labels
    block = score_block(labels, probabilities.argmax(1), names)
    intervals = score_intervals(labels, probabilities, bin_count, groups)
    block["interval"] = intervals["accuracy"] = accuracy_interval(right, groups)
    baselines = baseline_scores(folds, labels, groups, names)
    best = max(baselines, key=lambda name: baselines[name]["accuracy"])
    theirs = np.concatenate([fold.baselines[best] for fold in folds]).argmax(1) == labels
    return {
        "folds": len(folds),
        "fold_rows": [len(fold.rows) for fold in folds],
        "groups": None if groups is None else len(np.unique(groups)),
        **block,
        **probability_scores(labels, probabilities, confidence_bins(labels, probabilities, bin_count)),
        "roc_auc": float(np.mean([roc_auc_score(truth, score) for truth, score in one_vs_rest(labels, probabilities)])),
        "intervals": intervals,
        "gain": gain(right, theirs, groups),
        **over_folds([fold.metrics["test"] for fold in folds], HIGHER_IS_BETTER),
        "best": best,
        "baselines": baselines,
        "skipped": skipped(folds),
    }


def all_labels(folds: list[Answers]) -> np.ndarray:
    """Class ids of the rows of all folds, one fold after another."""
    return np.concatenate([fold.labels for fold in folds])


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


def resampled_means(values: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Percentile bootstrap interval {low, high} of the mean of one value per row, over whole groups."""
    means = np.concatenate([counts @ values / counts.sum(1) for counts in group_counts(groups)])
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"low": float(low), "high": float(high)}


def accuracy_interval(right: np.ndarray, groups: np.ndarray | None) -> dict[str, float]:
    """Interval {low, high} of the accuracy: Wilson's over rows, or by resampling groups."""
    if groups is None:
        return share_interval(int(right.sum()), len(right))
    ends = resampled_means(right.astype(float), groups)
    if ends["high"] - ends["low"] < NO_WIDTH:  # no group differs, which proves little for few of them
        units = len(np.unique(groups))
        return share_interval(round(right.mean() * units), units)
    return ends


def gain(ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray | None) -> dict[str, float]:
    """Gain in accuracy on the same rows: value, low, high; without groups also McNemar's p, which takes rows as independent."""
    if groups is None:
        return paired_gain(ours, theirs)
    difference = ours.astype(float) - theirs
    ends = resampled_means(difference, groups)
    if ends["high"] - ends["low"] < NO_WIDTH:
        units = len(np.unique(groups)) / len(ours)
        cells = (ours & theirs, ours & ~theirs, ~ours & theirs, ~ours & ~theirs)
        ends = paired_interval(*(round(cell.sum() * units) for cell in cells))
    return {"value": float(difference.mean()), **ends}


def baseline_scores(folds: list[Answers], labels: np.ndarray, groups: np.ndarray | None, names: list[str]) -> dict:
    """Accuracy, macro F1 and interval over all rows of each baseline that ran in every fold, with mean and spread over folds."""
    scores = {}
    for name in BASELINES:
        if not all(name in fold.baselines for fold in folds):
            continue
        blocks = [fold.metrics["baseline"][name] for fold in folds]
        if name == "few_shot":
            pooled = pooled_draws(blocks, [len(fold.rows) for fold in folds])
        else:
            predicted = np.concatenate([fold.baselines[name] for fold in folds]).argmax(1)
            block = score_block(labels, predicted, names)
            pooled = {
                "accuracy": block["accuracy"],
                "f1": block["f1"],
                "interval": accuracy_interval(predicted == labels, groups),
            }
        scores[name] = pooled | over_folds(blocks, ("accuracy", "f1"))
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
