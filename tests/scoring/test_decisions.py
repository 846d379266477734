"""From probabilities to answers, and the file that holds the rule."""

import json

import numpy as np
import pytest

from finetune.base.errors import UserError
from finetune.scoring.decisions import DECISION, UNSURE, Decision, read_decision, shown_class

ROWS = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.35, 0.25]])
TWO = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])


def test_without_a_rule_the_most_probable_label_is_the_answer():
    assert Decision().answers(ROWS).tolist() == [0, 2, 0]
    assert not Decision().leaves_unsure


def test_an_answer_less_probable_than_the_least_is_unsure():
    """0.5 is enough, 0.4 is not."""
    assert Decision(min_probability=0.5).answers(ROWS).tolist() == [0, 2, UNSURE]
    assert Decision(min_probability=0.5).leaves_unsure


def test_a_threshold_gives_its_label_below_one_half_and_the_other_one_above():
    """The second label from 0.3 on, from 0.31 on, and the first one from 0.95 on."""
    assert Decision(label=1, threshold=0.3).answers(TWO).tolist() == [0, 1, 1]
    assert Decision(label=1, threshold=0.31).answers(TWO).tolist() == [0, 0, 1]
    assert Decision(label=0, threshold=0.95).answers(TWO).tolist() == [1, 1, 1]


def test_no_rows_have_no_answers():
    assert Decision(min_probability=0.5).answers(np.empty((0, 3))).tolist() == []


def test_the_probability_shown_is_that_of_the_answer_or_of_the_most_probable_label():
    assert shown_class(1, TWO[1]) == 1
    assert shown_class(UNSURE, TWO[1]) == 0


@pytest.mark.parametrize("rule", [Decision(min_probability=0.75), Decision(label=1, threshold=0.31)])
def test_a_rule_comes_back_from_its_file(tmp_path, rule):
    (tmp_path / DECISION).write_text(json.dumps(rule.described(["bad", "good"]) | {"wanted": {}, "validation": {}}))
    assert read_decision(tmp_path, ["bad", "good"]) == rule


def test_a_folder_without_the_file_has_no_rule(tmp_path):
    assert read_decision(tmp_path, ["bad", "good"]) == Decision()


@pytest.mark.parametrize(
    ("text", "labels", "reason"),
    [
        ("{", ["bad", "good"], "JSONDecodeError"),
        ("[]", ["bad", "good"], "AttributeError"),
        ("{}", ["bad", "good"], "expected either min_probability or threshold"),
        ('{"min_probability": 0.5, "threshold": {}}', ["bad", "good"], "expected either"),
        ('{"min_probability": 1.5}', ["bad", "good"], "expected a probability, found 1.5"),
        ('{"min_probability": NaN}', ["bad", "good"], "expected a probability, found nan"),
        ('{"min_probability": true}', ["bad", "good"], "expected a probability, found True"),
        ('{"threshold": {"label": "fine", "probability": 0.3}}', ["bad", "good"], "ValueError: 'fine' is not in list"),
        ('{"threshold": {"label": "good"}}', ["bad", "good"], "KeyError: 'probability'"),
        (
            '{"threshold": {"label": "good", "probability": 0.3}}',
            ["bad", "good", "so"],
            "a threshold is for two labels",
        ),
    ],
)
def test_a_file_that_holds_no_rule_for_the_labels_is_one_line(tmp_path, text, labels, reason):
    (tmp_path / DECISION).write_text(text)
    with pytest.raises(UserError) as caught:
        read_decision(tmp_path, labels)
    message = str(caught.value)
    assert "decision.json is no decision for the labels bad, good" in message
    assert reason in message
    assert message.endswith("export the model again with `dvc repro export`")
    assert "\n" not in message
