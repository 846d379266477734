"""Scores, intervals and curves against values worked out by hand."""

import numpy as np
import pytest

from finetune.evaluation.resampling import score_intervals
from finetune.scoring.curves import confidence_bins, expected_calibration_error, one_vs_rest, precision_recall, roc
from finetune.scoring.intervals import paired_gain
from finetune.scoring.scores import score_block


def test_a_binary_score_block():
    """Truth 0 0 0 1 1, predicted 0 0 1 1 0.

    Class 0: 2 of 3 predictions right, 2 of 3 found: precision, recall and F1 2/3. Class 1: 1 of 2, 1 of 2: 1/2.
    Macro: (2/3 + 1/2) / 2 = 7/12. Accuracy 3/5.
    """
    block = score_block(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 0]), ["no", "yes"])
    assert block["accuracy"] == pytest.approx(3 / 5)
    for key in ("precision", "recall", "f1"):
        assert block[key] == pytest.approx(7 / 12)
        assert block["per_class"]["no"][key] == pytest.approx(2 / 3)
        assert block["per_class"]["yes"][key] == pytest.approx(1 / 2)
    assert block["per_class"]["no"]["accuracy"] == pytest.approx(3 / 5)
    assert [block["per_class"][name]["rows"] for name in ("no", "yes")] == [3, 2]
    assert block["rows"] == 5


def test_a_class_that_is_never_predicted_has_precision_zero():
    """Truth 0 1 2, predicted 0 0 0: class 0 has precision 1/3, recall 1, F1 1/2; the others 0.

    Macro F1 1/6. To "is it class 1?", two of three answers are right.
    """
    block = score_block(np.array([0, 1, 2]), np.array([0, 0, 0]), ["a", "b", "c"])
    assert block["f1"] == pytest.approx(1 / 6)
    assert block["precision"] == pytest.approx(1 / 9)
    assert block["per_class"]["b"] == {
        "accuracy": pytest.approx(2 / 3),
        "precision": 0,
        "recall": 0,
        "f1": 0,
        "rows": 1,
    }


def test_macro_scores_average_over_the_classes_that_occur():
    """Two of three classes have rows and every answer is right: 1, where a class without rows would make it 2/3."""
    block = score_block(np.array([0, 1, 1]), np.array([0, 1, 1]), ["a", "b", "c"])
    assert (block["precision"], block["recall"], block["f1"]) == (1, 1, 1)
    assert block["absent"] == ["c"]
    assert block["per_class"]["c"] == {"accuracy": 1, "precision": None, "recall": None, "f1": None, "rows": 0}


def test_a_wrong_answer_of_an_absent_class_costs_the_class_that_it_should_have_been():
    """a: 1 of 2 found, no other row called a. b: 1 of 1, none wrong. Recall (1/2 + 1) / 2, precision 1, F1 (2/3 + 1) / 2."""
    block = score_block(np.array([0, 0, 1]), np.array([0, 2, 1]), ["a", "b", "c"])
    assert block["recall"] == pytest.approx(3 / 4)
    assert block["precision"] == 1
    assert block["f1"] == pytest.approx(5 / 6)


def test_the_interval_of_an_accuracy_is_wilson_s():
    """80 of 100, z 1.96: centre (0.8 + 0.01921) / 1.03841 = 0.78890, half 1.96 * sqrt(0.0016 + 0.0000960) / 1.03841."""
    block = score_block(np.ones(100, int), (np.arange(100) < 80).astype(int), ["a", "b"])
    assert block["interval"]["low"] == pytest.approx(0.71117, abs=1e-4)
    assert block["interval"]["high"] == pytest.approx(0.86663, abs=1e-4)


def test_few_rows_that_are_all_right_prove_little():
    """60 of 60: Wilson's lower end is 60 / (60 + 1.96²) = 0.9398. Accuracy, F1 and the area under the curve agree on it."""
    labels = np.arange(60) % 2
    ends = score_block(labels, labels, ["a", "b"])["interval"]
    assert ends == {"low": pytest.approx(0.93983, abs=1e-4), "high": 1.0}
    sure = np.column_stack([1 - labels, labels]) * 0.98 + 0.01
    found = score_intervals(labels, sure, 10)
    for name in ("precision", "recall", "f1", "roc_auc"):
        assert found[name] == ends, name


def test_the_gain_is_paired():
    """10 rows: only ours is right in 4, only theirs in 1: gain 0.3. McNemar: 2 * (C(5,0) + C(5,1)) / 2^5 = 0.375."""
    ours = np.array([1, 1, 1, 1, 0, 1, 1, 1, 0, 0], bool)
    theirs = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0], bool)
    gain = paired_gain(ours, theirs)
    assert gain["value"] == pytest.approx(0.3)
    assert gain["p_value"] == pytest.approx(0.375)
    assert gain["low"] <= 0 < gain["high"]


def test_no_disagreement_is_no_evidence():
    """Two rows, one right, for both: the correlation of the answers is 1 but for the correction, so the interval has a width."""
    same = np.array([True, False])
    gain = paired_gain(same, same)
    assert (gain["value"], gain["p_value"]) == (0.0, 1.0)
    assert gain["low"] < -0.5 < 0.5 < gain["high"]


def test_the_paired_interval_has_a_width_where_both_are_always_right():
    """60 rows: no end is farther from 1 than Wilson's 0.0602, and above 1 there is nothing."""
    right = np.ones(60, bool)
    gain = paired_gain(right, right)
    assert gain["low"] == pytest.approx(-0.06017, abs=1e-4)
    assert gain["high"] == pytest.approx(0.06017, abs=1e-4)


@pytest.mark.parametrize("correlated", [0.0, 0.9])
def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says(correlated):
    """300 samples of 50 rows, accuracies 0.9 and 0.8: 15 misses are expected of a 95% interval."""
    random, missed = np.random.default_rng(0), 0
    for _ in range(300):
        ours, copied = random.random(50) < 0.9, random.random(50) < correlated
        theirs = np.where(copied, ours & (random.random(50) < 8 / 9), random.random(50) < 0.8)
        gain = paired_gain(ours, theirs)
        missed += not gain["low"] <= 0.1 <= gain["high"]
    assert missed <= 27  # three standard deviations above 15


def from_second(second: list[float]) -> np.ndarray:
    """Probabilities of two classes from those of the second."""
    return np.column_stack([1 - np.array(second), second])


def test_confidence_bins_and_calibration_error():
    """Two bins. Confidence 0.8, 0.9 right, 0.7 wrong: mean 0.8, accuracy 2/3, all in the upper bin: ECE |0.8 - 2/3|."""
    bins = confidence_bins(np.array([1, 0, 0]), from_second([0.8, 0.1, 0.7]), count=2)
    assert bins[1].tolist() == pytest.approx([0.8, 2 / 3, 2, 1])
    assert np.isnan(bins[0, :2]).all()
    assert bins[0, 2:].tolist() == [0, 0]
    assert expected_calibration_error(bins) == pytest.approx(0.8 - 2 / 3)


def test_a_certain_prediction_falls_into_the_last_bin():
    assert confidence_bins(np.array([1]), from_second([1.0]), count=10)[9, 2] == 1


def test_a_perfect_ranking_has_perfect_curves():
    labels, probabilities = np.array([0, 0, 1, 1]), from_second([0.1, 0.2, 0.8, 0.9])
    assert (roc(labels, probabilities)[1:, 1] == 1).all()
    assert (precision_recall(labels, probabilities)[:, 1] == 1).all()


def test_a_ranking_with_one_swap():
    """True labels by falling score: yes, no, yes, no. Half of the yes are found at no false alarm, all at half of them.

    Precision is 1 up to recall 1/2, then 2/3.
    """
    labels, probabilities = np.array([1, 0, 1, 0]), from_second([0.9, 0.8, 0.7, 0.1])
    curve = dict(roc(labels, probabilities).round(6).tolist())
    assert curve[0.6] == 1
    assert curve[0.4] == pytest.approx(0.5)
    precision = dict(precision_recall(labels, probabilities).round(6).tolist())
    assert precision[0.5] == 1
    assert precision[0.51] == pytest.approx(2 / 3, abs=1e-6)


def test_more_classes_are_averaged_without_those_that_have_no_rows():
    probabilities = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
    assert len(one_vs_rest(np.array([0, 1]), probabilities)) == 2
    assert (precision_recall(np.array([0, 1]), probabilities)[:, 1] == 1).all()
