"""The headline scores are those of the probabilities that ship."""

import numpy as np
import pytest

from finetune.evaluation.headline import headline_scores, rows_digest

NAMES = ["bad", "good"]


def test_scores_of_probabilities_are_those_after_scaling_and_those_before_are_kept_apart():
    """Three of four rows right, logits 4 apart: confidence 0.982. A temperature of 4 / ln 3 makes it 3/4, which is calibrated.

    Then log loss (3 ln(4/3) + ln 4) / 4 = 0.5623, Brier (3 * 0.25² + 0.75²) / 4 = 0.1875, calibration error 0.
    """
    labels, logits = np.array([0, 1, 1, 1]), np.array([[4, 0], [0, 4], [0, 4], [4, 0]], np.float32)
    baseline = np.array([[0.4, 0.6]] * 4)
    scores = headline_scores(labels, logits, 4 / np.log(3), baseline, NAMES, bin_count=15)
    assert scores["accuracy"] == 0.75
    assert scores["log_loss"] == pytest.approx(0.5623, abs=1e-4)
    assert scores["brier"] == pytest.approx(0.1875)
    assert scores["ece"] == pytest.approx(0.0, abs=1e-6)
    assert scores["calibration"]["temperature"] == pytest.approx(3.641, abs=1e-3)
    before = scores["calibration"]["uncalibrated"]
    assert set(before) == {"log_loss", "brier", "ece"}
    assert before["ece"] == pytest.approx(1 / (1 + np.exp(-4)) - 0.75)
    for name in ("log_loss", "brier"):
        assert before[name] > scores[name]
        assert scores["intervals"][name]["low"] <= scores[name] <= scores["intervals"][name]["high"]


def test_a_digest_identifies_rows_by_text_and_label_in_any_order():
    digest = rows_digest(["fine", "dull"], ["good", "bad"])
    assert len(digest) == 16
    assert rows_digest(["dull", "fine"], ["bad", "good"]) == digest
    assert rows_digest(["dull", "fine"], ["good", "bad"]) != digest
    assert rows_digest(["dull"], ["bad"]) != digest
