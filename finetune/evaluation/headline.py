"""Headline scores of the test rows, all of them of the probabilities that ship."""

import hashlib
import json

import numpy as np
from sklearn.metrics import roc_auc_score

from finetune.evaluation.calibration import probability_scores, scaled_probabilities, selective_accuracy, surest_first
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
    """Score block with the gain over the best baseline and the scores of the probabilities, all after temperature scaling.

    `logits` and the probabilities `best_baseline` have the shape [rows, classes]. `calibration` holds the temperature and
    the three scores that it changes, before scaling.
    """
    before, shipped = scaled_probabilities(logits), scaled_probabilities(logits, temperature)
    right = shipped.argmax(1) == labels
    block = score_block(labels, shipped.argmax(1), label_names)
    return {
        **block,
        "gain": paired_gain(right, best_baseline.argmax(1) == labels),
        **probability_scores(labels, shipped, confidence_bins(labels, shipped, bin_count)),
        "roc_auc": np.mean([roc_auc_score(truth, score) for truth, score in one_vs_rest(labels, shipped)]),
        # One interval of the accuracy, not two that differ in the third digit.
        "intervals": score_intervals(labels, shipped, bin_count) | {"accuracy": block["interval"]},
        "calibration": {
            "temperature": temperature,
            "uncalibrated": probability_scores(labels, before, confidence_bins(labels, before, bin_count)),
        },
        "selective": selective_accuracy(surest_first(labels, shipped)),
    }


def rows_digest(texts: list[str], labels: list[str]) -> str:
    """Sixteen hexadecimal digits that identify the rows, whatever their order: the same texts with the same names of labels.

    Two runs can be compared when their test rows have the same digest, also where only metrics/ is at hand.
    """
    rows = sorted(zip(texts, labels, strict=True))
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
