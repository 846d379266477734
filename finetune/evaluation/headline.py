"""Headline scores of the test rows."""

import numpy as np
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from finetune.evaluation.calibration import probability_scores, selective_accuracy, surest_first
from finetune.evaluation.resampling import score_intervals
from finetune.scoring.curves import confidence_bins, one_vs_rest
from finetune.scoring.intervals import paired_gain
from finetune.scoring.scores import score_block


def headline_scores(
    labels: np.ndarray,
    logits: np.ndarray,
    temperature: float,
    best_baseline: np.ndarray,
    label_names: list[str],
    bin_count: int,
) -> dict:
    """Score block with the gain over the best baseline, scores of the probabilities before and after scaling.

    `logits` and the probabilities `best_baseline` have the shape [rows, classes].
    """
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    calibrated = softmax((logits / temperature).astype(np.float64), axis=-1)
    predicted = probabilities.argmax(1)
    block = score_block(labels, predicted, label_names)
    return {
        **block,
        "gain": paired_gain(predicted == labels, best_baseline.argmax(1) == labels),
        **probability_scores(labels, probabilities, confidence_bins(labels, probabilities, bin_count)),
        "roc_auc": np.mean([roc_auc_score(truth, score) for truth, score in one_vs_rest(labels, probabilities)]),
        # One interval of the accuracy, not two that differ in the third digit.
        "intervals": score_intervals(labels, probabilities, bin_count) | {"accuracy": block["interval"]},
        "calibration": {
            "temperature": temperature,
            **probability_scores(labels, calibrated, confidence_bins(labels, calibrated, bin_count)),
        },
        "selective": selective_accuracy(surest_first(labels, probabilities)),
    }
