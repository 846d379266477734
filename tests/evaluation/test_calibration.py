"""Temperature, selective accuracy and bootstrap intervals against values worked out by hand or by scikit-learn."""

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import bootstrap
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_fscore_support, roc_auc_score

from finetune.evaluation.calibration import (
    TEMPERATURES,
    fit_temperature,
    probability_scores,
    selective_accuracy,
    selective_curve,
    surest_first,
)
from finetune.evaluation.resampling import areas, resampled_scores, score_intervals
from finetune.scoring.curves import confidence_bins, expected_calibration_error
from finetune.scoring.intervals import accuracy_entry, share_interval
from finetune.scoring.resamples import row_counts


def noisy(rows: int, classes: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the probabilities of random logits, and those logits times `scale`."""
    random = np.random.default_rng(1)
    logits = random.normal(size=(rows, classes)) * 2
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    labels = (probabilities.cumsum(1) < random.random((rows, 1))).sum(1)
    return labels, (logits * scale).astype(np.float32)


def test_a_temperature_by_hand():
    """Four rows with logits (0, 2), three of them class 1: calibrated at probability 3/4, where logits differ by ln 3."""
    logits = np.array([[0, 2]] * 4, np.float32)
    assert fit_temperature(np.array([1, 1, 1, 0]), logits) == pytest.approx(2 / np.log(3), rel=1e-4)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_temperature_undoes_a_scaling_and_keeps_every_prediction(classes):
    labels, logits = noisy(4000, classes, scale=3)
    temperature = fit_temperature(labels, logits)
    assert temperature == pytest.approx(3, rel=0.1)
    before, after = (
        softmax(logits.astype(np.float64), axis=-1),
        softmax((logits / temperature).astype(np.float64), axis=-1),
    )
    assert (before.argmax(1) == after.argmax(1)).all()
    scores = [
        probability_scores(labels, probabilities, confidence_bins(labels, probabilities, 10))
        for probabilities in (before, after)
    ]
    assert all(scores[1][name] < scores[0][name] for name in ("log_loss", "brier", "ece"))


def test_rows_that_are_all_right_give_the_smallest_temperature_not_an_endless_search():
    assert fit_temperature(np.array([0, 1]), np.array([[3, 0], [0, 3]], np.float32)) == pytest.approx(
        TEMPERATURES[0], rel=1e-2
    )


def test_selective_accuracy_sets_the_least_confident_rows_aside():
    """Ten rows, the two least confident wrong: 8 of 10, of the surest nine 8, of the surest eight or five all."""
    confidence = np.linspace(0.95, 0.55, 10)
    labels = np.array([1] * 8 + [0] * 2)
    right = surest_first(labels[::-1], np.column_stack([1 - confidence, confidence])[::-1])
    found = selective_accuracy(right)
    assert [(entry["accuracy"], entry["rows"]) for entry in found.values()] == [(8 / 9, 9), (1.0, 8), (1.0, 5)]
    curve = selective_curve(right)
    assert [point[0] for point in curve] == pytest.approx(np.arange(1, 11) / 10)
    assert curve[-1][1] == 0.8
    assert all(low <= accuracy <= high for _, accuracy, low, high in curve)


def test_a_single_row_has_selective_accuracy_too():
    assert selective_accuracy(np.array([True]))["keep_50"]["rows"] == 1
    assert len(selective_curve(np.array([True]))) == 1


def test_wilson_s_interval_by_hand():
    """0 of 10: from 0 to z² / (n + z²) with z = 1.96: 3.8415 / 13.8415 = 0.2775."""
    assert share_interval(0, 10) == {"low": 0.0, "high": pytest.approx(0.27753, abs=1e-4)}
    assert accuracy_entry(np.ones(10, bool))["interval"] == {"low": pytest.approx(0.72247, abs=1e-4), "high": 1.0}


def test_areas_count_pairs_and_half_of_ties():
    """Scores 1 (no), 2 (yes), 2 (no), 3 (yes): of four pairs 2>1, 3>1 and 3>2 are right, 2=2 is half: 3.5 / 4."""
    truth, score = np.array([False, True, False, True]), np.array([1.0, 2, 2, 3])
    assert areas(np.ones((1, 4)), truth, score)[0] == pytest.approx(3.5 / 4)
    assert np.isnan(areas(np.array([[1.0, 0, 1, 0]]), truth, score)[0])


@pytest.mark.parametrize("classes", [2, 4])
def test_every_resampled_score_is_the_one_scikit_learn_gives_for_those_rows(classes):
    labels, logits = noisy(60, classes)
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    found = resampled_scores(labels, probabilities, 7)
    counts = next(row_counts(60))
    assert (counts.sum(1) == 60).all()
    for sample in (0, 1, 2):
        chosen = np.repeat(np.arange(60), counts[sample].astype(int))
        truth, chances = labels[chosen], probabilities[chosen]
        precision, recall, f1, _ = precision_recall_fscore_support(
            truth, chances.argmax(1), labels=range(classes), average="macro", zero_division=0
        )
        area = (
            roc_auc_score(truth, chances[:, 1])
            if classes == 2
            else np.mean([roc_auc_score(truth == label, chances[:, label]) for label in range(classes)])
        )
        expected = {
            "accuracy": (chances.argmax(1) == truth).mean(),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "log_loss": log_loss(truth, chances, labels=range(classes)),
            "brier": brier_score_loss(truth, chances, labels=range(classes), scale_by_half=True),
            "ece": expected_calibration_error(confidence_bins(truth, chances, 7)),
            "roc_auc": area,
        }
        assert {name: values[sample] for name, values in found.items()} == pytest.approx(expected)


def test_the_intervals_hold_the_scores_and_agree_with_scipy_s():
    labels, logits = noisy(400, 3)
    probabilities = softmax(logits.astype(np.float64), axis=-1)
    found = score_intervals(labels, probabilities, 10)
    assert found == score_intervals(labels, probabilities, 10)
    scores = probability_scores(labels, probabilities, confidence_bins(labels, probabilities, 10))
    for name, value in scores.items():
        assert found[name]["low"] <= value <= found[name]["high"], name
    right = (probabilities.argmax(1) == labels).astype(float)
    scipy = bootstrap((right,), np.mean, method="percentile", rng=np.random.default_rng(7)).confidence_interval
    assert found["accuracy"]["low"] == pytest.approx(scipy.low, abs=0.01)
    assert found["accuracy"]["high"] == pytest.approx(scipy.high, abs=0.01)


def test_few_rows_and_a_class_without_rows_have_intervals_too():
    labels, probabilities = (
        np.array([0, 0, 1] * 4),
        softmax(np.random.default_rng(0).normal(size=(12, 3)).astype(np.float64), axis=-1),
    )
    found = score_intervals(labels, probabilities, 15)
    assert all(0 <= interval["low"] <= interval["high"] for interval in found.values())


def test_rows_that_are_all_right_leave_an_interval_of_some_width():
    """60 of 60: Wilson's interval begins at 60 / (60 + 1.96²) = 0.9398; of an error of 0 it ends at 1 - 0.9398."""
    labels = np.array([0, 1] * 30)
    found = score_intervals(labels, np.eye(2)[labels], 15)
    for name in ("precision", "recall", "f1", "roc_auc"):
        assert found[name] == {"low": pytest.approx(0.9398, abs=1e-4), "high": pytest.approx(1.0)}, name
    for name in ("brier", "ece"):
        assert found[name] == {"low": pytest.approx(0.0), "high": pytest.approx(0.0602, abs=1e-4)}, name
