"""Rules chosen on validation: least probability for an accuracy, threshold for a precision or a recall, all by hand."""

import numpy as np
import pytest

from finetune.base.errors import UserError
from finetune.base.params_results import Decide, LabelThreshold
from finetune.evaluation.decision_rules import answered_scores, decision, label_scores, levels_and_counts
from finetune.scoring.decisions import Decision
from finetune.scoring.intervals import share_interval

NAMES = ["bad", "good"]
# Eight rows by the probability of "good": 0.95, 0.9, 0.8, 0.7, 0.6 are answered good, 0.4, 0.3, 0.1 bad.
GOOD = np.array([0.95, 0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.1])
LABELS = np.array([1, 1, 0, 1, 0, 1, 0, 0])
VALIDATION = LABELS, np.column_stack([1 - GOOD, GOOD])
# Two rows that the rules only measure: good at 0.65, bad at 0.35.
TEST = np.array([1, 1]), np.array([[0.35, 0.65], [0.65, 0.35]])


def decide(**rule) -> Decide:
    return Decide(**{"min_probability": None, "min_accuracy": None, "threshold": None} | rule)


def test_no_rule_is_no_decision():
    assert decision(decide(), NAMES, VALIDATION, TEST) is None


def test_a_given_least_probability_is_measured():
    """At least 0.75 have 0.95 and 0.9 (right), 0.8 (wrong) and 0.1, which is bad with 0.9 (right): 4 of 8, 3 right."""
    found = decision(decide(min_probability=0.75), NAMES, VALIDATION, TEST)
    assert found["min_probability"] == 0.75
    assert found["wanted"] == {}
    assert found["validation"] == {
        "answered": {"value": 0.5, "rows": 8, "interval": share_interval(4, 8)},
        "accuracy": {"value": 0.75, "rows": 4, "interval": share_interval(3, 4)},
    }
    assert found["test"]["answered"]["value"] == 0
    assert found["test"]["accuracy"] == {"value": None, "rows": 0, "interval": None}


def test_the_least_probability_for_an_accuracy_answers_as_many_rows_as_it_can():
    """By confidence: 0.95 right, 0.9 right twice, 0.8 wrong, 0.7 right twice, 0.6 wrong twice.

    Accuracy from each level on: 0.95 1/1, 0.9 3/3, 0.8 3/4, 0.7 5/6, 0.6 5/8. For 0.8 that is 0.7, past the dip at 0.8; for
    0.9 it is 0.9; for 0.6 nothing needs to stay unanswered.
    """
    levels = {
        wanted: decision(decide(min_accuracy=wanted), NAMES, VALIDATION, TEST)["min_probability"]
        for wanted in (0.6, 0.8, 0.9, 0.99)
    }
    assert levels == {0.6: 0.0, 0.8: 0.7, 0.9: 0.9, 0.99: 0.9}
    found = decision(decide(min_accuracy=0.8), NAMES, VALIDATION, TEST)
    assert found["wanted"] == {"accuracy": 0.8}
    assert found["validation"]["accuracy"]["value"] == pytest.approx(5 / 6)
    assert found["validation"]["answered"]["value"] == pytest.approx(6 / 8)


def test_an_accuracy_that_no_least_probability_reaches_is_an_error_with_the_highest():
    """The surest row is wrong: from 0.9 on 1 of 2 are right, which is the best."""
    labels, probabilities = np.array([0, 1]), np.array([[0.05, 0.95], [0.1, 0.9]])
    with pytest.raises(UserError) as caught:
        decision(decide(min_accuracy=0.7), NAMES, (labels, probabilities), TEST)
    assert str(caught.value) == (
        "decide.min_accuracy 0.7 is reached by no least probability on the 2 validation rows; the highest accuracy is 0.500: "
        "lower it, or set it to null"
    )


def threshold(label: str, **wanted) -> dict:
    return decision(decide(threshold=LabelThreshold(label=label, **wanted)), NAMES, VALIDATION, TEST)


def test_the_threshold_for_a_precision_is_the_lowest_one():
    """Precision from each probability of good on: 1/1, 2/2, 2/3, 3/4, 3/5, 4/6, 4/7, 4/8, so 0.75 is reached at 0.7."""
    found = threshold("good", precision=0.75)
    assert found["threshold"] == {"label": "good", "probability": 0.7}
    assert found["wanted"] == {"precision": 0.75}
    assert found["validation"]["precision"] == {"value": 0.75, "rows": 4, "interval": share_interval(3, 4)}
    assert found["validation"]["recall"] == {"value": 0.75, "rows": 4, "interval": share_interval(3, 4)}
    # Answers good good good good bad bad bad bad: three of each label right, so both F1 are 0.75.
    assert found["validation"]["accuracy"]["value"] == found["validation"]["f1"] == 0.75
    assert threshold("good", precision=0.66)["threshold"]["probability"] == 0.4
    assert found["test"]["precision"] == {"value": None, "rows": 0, "interval": None}
    assert found["test"]["recall"]["value"] == 0


def test_the_threshold_for_a_recall_is_the_highest_one():
    """Recall of good from 0.95 on 1/4, 0.9 2/4, 0.7 3/4, 0.4 4/4; of bad (1 - good) from 0.9 on 1/4, 0.7 2/4, 0.4 3/4."""
    assert threshold("good", recall=0.75)["threshold"]["probability"] == 0.7
    assert threshold("good", recall=0.76)["threshold"]["probability"] == 0.4
    assert threshold("bad", recall=0.6)["threshold"] == {"label": "bad", "probability": pytest.approx(0.4)}


def test_a_precision_that_no_threshold_reaches_is_an_error_with_the_highest():
    with pytest.raises(UserError) as caught:
        decision(
            decide(threshold=LabelThreshold(label="good", precision=0.9)),
            NAMES,
            (np.array([0, 1, 0]), np.array([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])),
            TEST,
        )
    assert str(caught.value) == (
        "decide.threshold wants a precision of 0.9 for good, which no threshold reaches on the 3 validation rows; the highest "
        "is 0.500: lower it, or want a recall"
    )


def test_a_label_without_validation_rows_has_no_threshold():
    rows = np.array([0, 0]), TEST[1]
    with pytest.raises(
        UserError, match=r"^decide\.threshold needs validation rows with the label good, and there are none"
    ):
        decision(decide(threshold=LabelThreshold(label="good", recall=0.9)), NAMES, rows, TEST)


@pytest.mark.parametrize(
    ("rule", "names", "message"),
    [
        (
            {"threshold": LabelThreshold(label="a", recall=0.9)},
            ["a", "b", "c"],
            "decide.threshold is for two labels, found 3",
        ),
        (
            {"threshold": LabelThreshold(label="x", recall=0.9)},
            ["a", "b"],
            "decide.threshold.label must be one of the labels a, b, found x",
        ),
        ({"min_accuracy": 0.9}, ["sure", "Unsure"], "decide answers unsure where it leaves a text to a person"),
    ],
)
def test_a_rule_that_does_not_fit_the_labels_is_an_error(rule, names, message):
    with pytest.raises(UserError) as caught:
        decision(decide(**rule), names, VALIDATION, TEST)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_level_is_rounded_down_so_that_its_own_row_is_answered():
    """0.70009 becomes 0.7; the number that ships has four digits and is the one that was judged."""
    levels, rows, marked = levels_and_counts(np.array([0.70009, 0.91234567]), np.array([True, False]))
    assert levels.tolist() == [0.0, 0.7, 0.9123]
    assert rows.tolist() == [2, 2, 1]
    assert marked.tolist() == [1, 1, 0]


def test_every_level_counts_what_the_rule_answers():
    """Random rows: counts from the sorted scores are those of the rule itself, also where scores lie just below a level."""
    random = np.random.default_rng(3)
    scores = np.concatenate([random.random(500).round(3), np.nextafter(np.arange(1, 100) / 10_000, 0)])
    marked = random.random(len(scores)) < 0.5
    levels, rows, found = levels_and_counts(scores, marked)
    assert rows.min() > 0
    assert rows.tolist() == [(scores >= level).sum() for level in levels]
    assert found.tolist() == [marked[scores >= level].sum() for level in levels]


def test_scores_of_a_rule_are_those_of_its_answers():
    rule = Decision(label=1, threshold=0.35)
    assert label_scores(rule, *TEST)["recall"]["value"] == 1
    assert label_scores(rule, *TEST)["f1"] == 1  # the only label that occurs
    assert answered_scores(Decision(min_probability=0.6), *TEST)["accuracy"]["value"] == 0.5
