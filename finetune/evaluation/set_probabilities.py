"""Probabilities of several labels per text: their calibration, their scores, and which rows are surest.

A decision is one label of one text; log loss, Brier score and calibration error are over all decisions. `truth` is bool,
`probabilities` floats, both of shape [rows, labels].
"""

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_auc_score

from finetune.evaluation.calibration import TEMPERATURES, probability_scores
from finetune.evaluation.resampling import areas, resampled_scores, score_intervals
from finetune.scoring.curves import confidence_bins, one_vs_rest
from finetune.scoring.intervals import RESAMPLES
from finetune.scoring.resamples import ends, group_counts, mean_of_known, row_counts

OF_DECISIONS = ("log_loss", "brier", "ece")


def label_temperatures(truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Temperature of each label that minimises its log loss on these rows; 1 where no row has the label, or all have it.

    Guo et al. 2017, for each label as a problem of its own.
    """

    def loss(exponent: float, has: np.ndarray, label_logits: np.ndarray) -> float:
        signed = np.where(has, label_logits, -label_logits) / np.exp(exponent)
        return np.logaddexp(0, -signed).mean()

    temperatures = np.ones(truth.shape[1])
    for label, has in enumerate(truth.T):
        if 0 < has.sum() < len(has):
            label_logits = logits[:, label].astype(np.float64)
            found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), args=(has, label_logits), method="bounded")
            temperatures[label] = np.exp(found.x)
    return temperatures


def decisions(truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each label of each row as a question with two answers: 0 or 1, and the probabilities of both."""
    flat = probabilities.ravel()
    return truth.ravel().astype(np.int64), np.column_stack([1 - flat, flat])


def probability_block(truth: np.ndarray, before: np.ndarray, after: np.ndarray, bins: int) -> tuple[dict, dict]:
    """Scores of the probabilities with those before calibration, and the intervals of the former, over whole rows."""
    shipped, trained = decisions(truth, after), decisions(truth, before)
    intervals = score_intervals(*shipped, bins, interval_rows(truth))
    block = {
        **probability_scores(*shipped, confidence_bins(*shipped, bins)),
        "roc_auc": mean_area(truth, after),
        "uncalibrated": probability_scores(*trained, confidence_bins(*trained, bins)),
    }
    return block, {name: intervals[name] for name in OF_DECISIONS} | {"roc_auc": ends(resampled_areas(truth, after))}


def mean_area(truth: np.ndarray, probabilities: np.ndarray) -> float:
    """Area under the ROC curve, the mean over the labels."""
    return float(np.mean([roc_auc_score(has, score) for has, score in one_vs_rest(truth, probabilities)]))


def interval_rows(truth: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """What is resampled with each decision as a whole: its row, or the group of its row."""
    return np.repeat(np.arange(len(truth)) if groups is None else groups, truth.shape[1])


def resampled_areas(
    truth: np.ndarray, probabilities: np.ndarray, resamples: int = RESAMPLES, groups: np.ndarray | None = None
) -> np.ndarray:
    """`mean_area` of every resample of the rows, or of whole groups, over the labels that it has, of shape [resamples]."""
    pairs = one_vs_rest(truth, probabilities)
    drawn = row_counts(len(truth), resamples) if groups is None else group_counts(groups, resamples)
    blocks = [[areas(counts, *pair) for pair in pairs] for counts in drawn]
    return mean_of_known(np.concatenate(blocks, axis=1))


def resampled_probability_scores(
    truth: np.ndarray, probabilities: np.ndarray, bins: int, resamples: int
) -> dict[str, np.ndarray]:
    """Log loss, Brier score, calibration error and area of every resample of the rows, each of shape [resamples]."""
    of_decisions = resampled_scores(*decisions(truth, probabilities), bins, interval_rows(truth), resamples)
    areas_of = {"roc_auc": resampled_areas(truth, probabilities, resamples)}
    return {name: of_decisions[name] for name in OF_DECISIONS} | areas_of


def surest_sets(right: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Right (True) or wrong (False) of every row, the row whose least sure label is surest first.

    A label is the surer, the farther its probability is from its threshold, relative to the way to 0 or 1.
    """
    way = np.where(probabilities >= thresholds, 1 - thresholds, thresholds)
    sureness = (np.abs(probabilities - thresholds) / np.maximum(way, 1e-12)).min(1)
    return right[np.argsort(-sureness, kind="stable")]
