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
from finetune.scoring.resamples import ends, mean_of_known, resample_counts

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


def decision_scores(truth: np.ndarray, probabilities: np.ndarray, bins: int) -> dict[str, float]:
    """Log loss, Brier score and calibration error of all decisions."""
    flat = decisions(truth, probabilities)
    return probability_scores(*flat, confidence_bins(*flat, bins))


def set_probability_scores(truth: np.ndarray, probabilities: np.ndarray, bins: int) -> dict[str, float]:
    """`decision_scores`, and the area under the ROC curve, which is the mean over the labels."""
    areas_of = [roc_auc_score(has, score) for has, score in one_vs_rest(truth, probabilities)]
    return decision_scores(truth, probabilities, bins) | {"roc_auc": float(np.mean(areas_of))}


def set_probability_intervals(
    truth: np.ndarray, probabilities: np.ndarray, bins: int, groups: np.ndarray | None = None
) -> dict[str, dict[str, float]]:
    """Bootstrap interval of each of the `set_probability_scores`, over whole rows, or groups of rows where they are given."""
    of_decisions = score_intervals(*decisions(truth, probabilities), bins, with_row(truth, groups))
    area = ends(resampled_areas(truth, probabilities, groups=groups))
    return {name: of_decisions[name] for name in OF_DECISIONS} | {"roc_auc": area}


def with_row(truth: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """What each decision is resampled with: its row, or the group of its row."""
    owners = groups if groups is not None else np.arange(len(truth))
    return np.repeat(owners, truth.shape[1])


def resampled_areas(
    truth: np.ndarray, probabilities: np.ndarray, resamples: int = RESAMPLES, groups: np.ndarray | None = None
) -> np.ndarray:
    """Mean area over the labels of every resample of the rows, or of whole groups, of shape [resamples].

    A label that a resample lacks does not count there.
    """
    pairs = one_vs_rest(truth, probabilities)
    drawn = resample_counts(len(truth), resamples, groups)
    blocks = [[areas(counts, *pair) for pair in pairs] for counts in drawn]
    return mean_of_known(np.concatenate(blocks, axis=1))


def resampled_probability_scores(
    truth: np.ndarray, probabilities: np.ndarray, bins: int, resamples: int
) -> dict[str, np.ndarray]:
    """Log loss, Brier score, calibration error and area of every resample of the rows, each of shape [resamples]."""
    of_decisions = resampled_scores(*decisions(truth, probabilities), bins, with_row(truth), resamples)
    areas_of = {"roc_auc": resampled_areas(truth, probabilities, resamples)}
    return {name: of_decisions[name] for name in OF_DECISIONS} | areas_of


def surest_sets(right: np.ndarray, probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Right (True) or wrong (False) of every row, the row whose least sure label is surest first.

    A label is the surer, the farther its probability is from its threshold, relative to the way to 0 or 1.
    """
    way = np.where(probabilities >= thresholds, 1 - thresholds, thresholds)
    sureness = (np.abs(probabilities - thresholds) / np.maximum(way, 1e-12)).min(1)
    return right[np.argsort(-sureness, kind="stable")]
