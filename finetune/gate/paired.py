"""Scores of two revisions on the same rows: both values, and the variance of their difference (paired bootstrap)."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.special import expit, softmax
from scipy.stats import norm

from finetune.evaluation.resampling import NO_WIDTH, resampled_scores, scores
from finetune.evaluation.set_probabilities import resampled_probability_scores, set_probability_scores
from finetune.results.predictions import has_label_sets, logits_of
from finetune.rows.label_lists import matrix_of
from finetune.scoring.intervals import CONFIDENCE, paired_interval
from finetune.scoring.label_sets import resampled_sets, set_block
from finetune.scoring.resamples import mean_of_known

RESAMPLES = 500  # give a standard error to within 3%


class Paired(NamedTuple):
    """A metric on the same rows at two revisions, and the variance of the difference over other rows."""

    base: float
    head: float
    variance: float


def paired_scores(base: pa.Table, head: pa.Table, bins: int) -> dict[str, Paired]:
    """Each metric of two revisions' predictions of the same rows; none if their numbers of classes differ.

    The variance is the bootstrap's, except for the accuracy, which has that of `paired_interval` as everywhere. That one also
    stands in where no resample differs, as on 60 rows that both get right, which does not prove that they are equal.
    """
    if logits_of(base).shape != logits_of(head).shape:
        return {}
    of_task = of_label_sets if has_label_sets(head) else of_one_label
    values, differences, right = of_task(base, head, bins)
    of_answers, paired = answers_variance(*right), {}
    for name, drawn in differences.items():
        known = drawn[np.isfinite(drawn)]  # a resample with rows of one class has no ROC curve
        if len(known) > RESAMPLES / 2:
            variance = float(known.var(ddof=1))
            if name == "accuracy" or variance < NO_WIDTH**2:
                variance = of_answers
            paired[name] = Paired(*(float(side[name]) for side in values), variance)
    return paired


def of_one_label(base: pa.Table, head: pa.Table, bins: int) -> tuple[list, dict, list]:
    """Scores of both revisions; the difference head - base in every resample; and whether each row is right, for both."""
    labels = head.column("label").to_numpy()
    probabilities = [softmax(logits_of(side), axis=1) for side in (base, head)]
    whole = np.ones((1, len(labels)))
    values = [
        {name: score[0] for name, score in scores(labels, side, whole, bins, mean_of_known).items()}
        for side in probabilities
    ]
    theirs, ours = (
        resampled_scores(labels, side, bins, resamples=RESAMPLES, mean=mean_of_known) for side in probabilities
    )
    right = [side.argmax(1) == labels for side in probabilities]
    return values, {name: ours[name] - theirs[name] for name in ours}, right


def of_label_sets(base: pa.Table, head: pa.Table, bins: int) -> tuple[list, dict, list]:
    """As `of_one_label`; the answers are those that each revision gave with its own thresholds."""
    values, drawn, right = [], [], []
    for side in (base, head):
        probabilities = expit(logits_of(side))
        labels = probabilities.shape[1]
        truth, answers = (matrix_of(side.column(name), labels) for name in ("label", "predicted"))
        names = [str(label) for label in range(labels)]
        values.append(
            set_block(truth, answers, probabilities, names) | set_probability_scores(truth, probabilities, bins)
        )
        drawn.append(
            resampled_sets(truth, answers, probabilities, RESAMPLES)
            | resampled_probability_scores(truth, probabilities, bins, RESAMPLES)
        )
        right.append((truth == answers).all(1))
    theirs, ours = drawn
    return values, {name: ours[name] - theirs[name] for name in ours}, right


def answers_variance(theirs: np.ndarray, ours: np.ndarray) -> float:
    """Variance of the difference of two accuracies, from arrays of right (True) or wrong (False) on the same rows."""
    counts = (ours & theirs, ours & ~theirs, theirs & ~ours, ~ours & ~theirs)
    ends = paired_interval(*(int(rows.sum()) for rows in counts))
    return variance_of(ends)


def variance_of(ends: dict[str, float]) -> float:
    """Variance of a normal distribution whose 95% interval has these ends."""
    return ((ends["high"] - ends["low"]) / 2 / norm.ppf((1 + CONFIDENCE) / 2)) ** 2
