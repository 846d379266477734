"""The scores of the test rows that a review starts with."""

import numpy as np
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from finetune.evaluation.calibration import probability_scores, selective_accuracy, surest_first
from finetune.evaluation.resampling import score_intervals
from finetune.scoring.curves import confidence_bins, one_vs_rest
from finetune.scoring.intervals import paired_gain
from finetune.scoring.scores import score_block


def headline_scores(
    labels: np.ndarray, found: np.ndarray, temperature: float, best_baseline: np.ndarray, names: list[str], bins: int
) -> dict:
    """Score block with the gain over the best baseline, scores of the probabilities before and after scaling.

    `found` are logits, `best_baseline` probabilities; both of shape [rows, classes].
    """
    shares, scaled = (
        softmax(found.astype(np.float64), axis=-1),
        softmax((found / temperature).astype(np.float64), axis=-1),
    )
    predicted = shares.argmax(1)
    block = score_block(labels, predicted, names)
    return {
        **block,
        "gain": paired_gain(predicted == labels, best_baseline.argmax(1) == labels),
        **probability_scores(labels, shares, confidence_bins(labels, shares, bins)),
        "roc_auc": np.mean([roc_auc_score(truth, score) for truth, score in one_vs_rest(labels, shares)]),
        # One interval of the accuracy, not two that differ in the third digit.
        "intervals": score_intervals(labels, shares, bins) | {"accuracy": block["interval"]},
        "calibration": {
            "temperature": temperature,
            **probability_scores(labels, scaled, confidence_bins(labels, scaled, bins)),
        },
        "selective": selective_accuracy(surest_first(labels, shares)),
    }
