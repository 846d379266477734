"""Scores of label sets, against values worked out by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from finetune.scoring.label_sets import (
    average_precisions,
    best_thresholds,
    ranking_precision,
    resampled_sets,
    set_block,
    set_gains,
    set_words,
)

TRUTH = np.array([[1, 0], [1, 1], [0, 0], [0, 1]], bool)
ANSWERS = np.array([[1, 0], [1, 0], [0, 0], [1, 1]], bool)
PROBABILITIES = np.array([[0.9, 0.2], [0.8, 0.4], [0.1, 0.1], [0.6, 0.7]])


def test_the_scores_of_sets_are_those_worked_out_by_hand():
    """Label a: 2 right, 1 answered wrongly, 0 missed: F1 4/5. Label b: 1 right, 0 wrong, 1 missed: F1 2/3. Both: 3, 1, 1."""
    block = set_block(TRUTH, ANSWERS, PROBABILITIES, ["a", "b"])
    assert block["accuracy"] == 0.5
    assert block["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert block["micro_f1"] == pytest.approx(6 / 8)
    # Rows: {a} = {a} 1, {a, b} against {a} 2/3, none against none 1, {b} against {a, b} 2/3.
    assert block["sample_f1"] == pytest.approx((1 + 2 / 3 + 1 + 2 / 3) / 4)
    assert block["hamming_loss"] == 2 / 8
    assert block["average_precision"] == 1
    assert block["lrap"] == 1
    assert block["per_class"]["b"]["recall"] == 0.5


def test_a_label_that_no_row_has_is_named_and_left_out_of_the_means():
    block = set_block(TRUTH[:1], ANSWERS[:1], PROBABILITIES[:1], ["a", "b"])
    assert (block["absent"], block["f1"]) == (["b"], 1)
    assert block["per_class"]["b"]["f1"] is None


def test_a_threshold_lies_halfway_between_the_probabilities_with_the_best_f1_that_it_separates():
    """Answering from 0.4 on is right twice and never wrong (F1 1); the next probability below is 0.2."""
    truth = np.array([[0, 0], [0, 0], [1, 0], [1, 0]], bool)
    probabilities = np.array([[0.1, 0.3], [0.2, 0.4], [0.4, 0.6], [0.9, 0.7]])
    assert best_thresholds(truth, probabilities) == pytest.approx([0.3, 0.5])


def test_resampled_scores_are_scikit_learns_for_rows_drawn_once_and_twice():
    random = np.random.default_rng(1)
    truth, scores = random.random((30, 3)) < 0.4, random.random((30, 3)).round(1)
    counts = random.integers(0, 3, (2, 30)).astype(float)
    for label in range(3):
        expected = [average_precision_score(truth[:, label], scores[:, label], sample_weight=row) for row in counts]
        assert average_precisions(counts, truth[:, label], scores[:, label]) == pytest.approx(expected)
    assert ranking_precision(truth, scores).mean() == pytest.approx(
        label_ranking_average_precision_score(truth, scores)
    )


def test_a_classifier_gains_nothing_over_itself():
    block, resampled = (
        set_block(TRUTH, ANSWERS, PROBABILITIES, ["a", "b"]),
        resampled_sets(TRUTH, ANSWERS, PROBABILITIES),
    )
    gains = set_gains(block, block, resampled, resampled)
    assert gains["micro_f1"] == {"value": 0, "low": 0, "high": 0}
    assert gains.keys() == {
        "accuracy",
        "precision",
        "recall",
        "f1",
        "micro_f1",
        "sample_f1",
        "hamming_loss",
        "average_precision",
        "lrap",
    }


def test_a_set_in_words():
    assert [set_words(row, ["a", "b"]) for row in TRUTH] == ["a", "a, b", "(none)", "b"]
