"""Scores of sets of labels, their bootstrap intervals and paired gains; the thresholds that turn probabilities into sets.

`truth` and `answers` are bool, `probabilities` floats, all of shape [rows, labels].
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    hamming_loss,
    label_ranking_average_precision_score,
    precision_recall_curve,
    precision_recall_fscore_support,
)

from finetune.scoring.intervals import RESAMPLES, share_interval
from finetune.scoring.resamples import ends, ratio, resample_counts

NEUTRAL = 0.5  # the threshold of a label that validation says nothing about


def best_thresholds(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Threshold of each label with the highest F1 on these rows, of shape [labels]; of equals the one nearest to 0.5.

    It lies halfway between the two probabilities that it separates. A label that no row has, or all rows have, gets 0.5.
    """
    thresholds = np.full(truth.shape[1], NEUTRAL)
    for label, (has, scores) in enumerate(zip(truth.T, probabilities.astype(np.float64).T, strict=True)):
        if not 0 < has.sum() < len(has):
            continue
        precision, recall, values = precision_recall_curve(has, scores)
        precision, recall = precision[:-1], recall[:-1]
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)
        below = np.concatenate([[0.0], values[:-1]])
        halfway = (below + values) / 2
        best = np.flatnonzero(f1 >= f1.max() - 1e-12)
        thresholds[label] = halfway[best[np.abs(halfway[best] - NEUTRAL).argmin()]]
    return thresholds


def set_block(truth: np.ndarray, answers: np.ndarray, probabilities: np.ndarray, label_names: list[str]) -> dict:
    """Every score of a classifier; `accuracy` is the share of rows whose set is exactly right (subset accuracy).

    Macro scores and the mean average precision are over the labels that occur; `absent` lists the others. A row without a label
    counts as 1 in the sample F1 if none is answered.
    """
    occurs = truth.any(0)
    precision, recall, f1, rows = precision_recall_fscore_support(truth, answers, average=None, zero_division=0)
    area = [
        average_precision_score(truth[:, label], probabilities[:, label]) if has else None
        for label, has in enumerate(occurs)
    ]
    right = (truth == answers).all(1)
    return {
        "accuracy": float(accuracy_score(truth, answers)),
        "precision": float(precision[occurs].mean()),
        "recall": float(recall[occurs].mean()),
        "f1": float(f1[occurs].mean()),
        "micro_f1": float(f1_score(truth, answers, average="micro", zero_division=0)),
        "sample_f1": float(f1_score(truth, answers, average="samples", zero_division=1)),
        "hamming_loss": float(hamming_loss(truth, answers)),
        "average_precision": float(np.mean([value for value in area if value is not None])),
        "lrap": float(label_ranking_average_precision_score(truth, probabilities)),
        "absent": [name for name, has in zip(label_names, occurs, strict=True) if not has],
        "per_class": {
            name: {
                "accuracy": float((truth[:, label] == answers[:, label]).mean()),
                "precision": float(precision[label]) if rows[label] else None,
                "recall": float(recall[label]) if rows[label] else None,
                "f1": float(f1[label]) if rows[label] else None,
                "average_precision": area[label],
                "rows": int(rows[label]),
            }
            for label, name in enumerate(label_names)
        },
        "rows": len(truth),
        "interval": share_interval(int(right.sum()), len(right)),
    }


def ranking_precision(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Label-ranking average precision of each row; 1 for a row with no label or with all, as scikit-learn counts it."""
    ranks = rankdata(-probabilities, "max", axis=1)
    return np.array(
        [
            (rankdata(-scores[has], "max") / rank[has]).mean() if 0 < has.sum() < len(has) else 1.0
            for has, scores, rank in zip(truth, probabilities, ranks, strict=True)
        ]
    )


def average_precisions(counts: np.ndarray, has: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Average precision of one label in each resample, NaN in one that has no row with it; `counts` is [resamples, rows]."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # the last row of each score
    seen = counts[:, order].cumsum(1)[:, last]
    found = (counts[:, order] * has[order]).cumsum(1)[:, last]
    total = found[:, -1:]
    precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
    gained = np.diff(found, axis=1, prepend=0)
    return np.divide((gained * precision).sum(1), total[:, 0], out=np.full(len(counts), np.nan), where=total[:, 0] > 0)


def resampled_sets(
    truth: np.ndarray,
    answers: np.ndarray,
    probabilities: np.ndarray,
    resamples: int = RESAMPLES,
    groups: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Every score of every resample of the rows, each of shape [resamples]; the same resamples for every classifier.

    Whole groups are resampled where `groups` has one key per row.
    """
    right, both = (truth == answers).all(1), truth & answers
    sizes = truth.sum(1) + answers.sum(1)
    sample = np.where(sizes > 0, 2 * both.sum(1) / np.maximum(sizes, 1), 1.0)
    means = np.column_stack([right, sample, (truth != answers).mean(1), ranking_precision(truth, probabilities)])
    drawn = resample_counts(len(truth), resamples, groups)
    blocks = [block_scores(counts, truth, answers, probabilities, means) for counts in drawn]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def block_scores(
    counts: np.ndarray, truth: np.ndarray, answers: np.ndarray, probabilities: np.ndarray, means: np.ndarray
) -> dict[str, np.ndarray]:
    """Every score of the resamples in `counts`; `means` holds the scores that are means over rows."""
    of_rows = counts @ means / counts.sum(1, keepdims=True)
    actual, answered, both = counts @ truth, counts @ answers, counts @ (truth & answers)
    occurs = actual > 0
    macro = {
        name: ratio((values * occurs).sum(1), occurs.sum(1).astype(float))
        for name, values in (
            ("precision", ratio(both, answered)),
            ("recall", ratio(both, actual)),
            ("f1", ratio(2 * both, actual + answered)),
        )
    }
    areas = [
        average_precisions(counts, has, scores)
        for has, scores in zip(truth.T, probabilities.T, strict=True)
        if has.any()
    ]
    known = np.isfinite(areas)
    return {
        "accuracy": of_rows[:, 0],
        **macro,
        "micro_f1": ratio(2 * both.sum(1), actual.sum(1) + answered.sum(1)),
        "sample_f1": of_rows[:, 1],
        "hamming_loss": of_rows[:, 2],
        "average_precision": ratio(np.where(known, areas, 0).sum(0), known.sum(0).astype(float)),
        "lrap": of_rows[:, 3],
    }


def set_intervals(resampled: dict[str, np.ndarray], interval: dict[str, float]) -> dict[str, dict[str, float]]:
    """Interval of each score; that of the accuracy is Wilson's, `interval`."""
    return {name: ends(values) for name, values in resampled.items()} | {"accuracy": interval}


def set_gains(ours: dict, theirs: dict, our_resamples: dict, their_resamples: dict) -> dict[str, dict[str, float]]:
    """Paired gain of each score over another classifier on the same rows: value, low, high; above 0 ours is higher."""
    return {
        name: {"value": ours[name] - theirs[name], **ends(our_resamples[name] - their_resamples[name])}
        for name in our_resamples
    }


def set_words(has: Sequence[bool], label_names: list[str]) -> str:
    """The names of the labels that a text has, for a table that a person reads: "insult, threat"; "(none)" without any."""
    return ", ".join(name for name, is_there in zip(label_names, has, strict=True) if is_there) or "(none)"
