"""Names of labels from raw values, and values that cannot be labels."""

import time
from collections import Counter

import pytest

from finetune.base.errors import UserError
from finetune.base.params_data import Data
from finetune.sources.labels import name_of_each_value


def names(counts: dict[str, dict[str | None, int]], labels: dict[str, str] | None = None) -> dict[str, str]:
    """Names for the counts of each split."""
    data = Data(uri="reviews.csv", sha256=None, text="text", label="label", labels=labels, group=None)
    return name_of_each_value({split: Counter(values) for split, values in counts.items()}, data)


def test_labels_are_sorted_and_numbers_by_their_value():
    assert list(names({"all": {"b": 1, "a": 2, None: 3}})) == ["a", "b"]
    assert list(names({"all": {"10": 1, "9": 2, "-3": 1}})) == ["-3", "9", "10"]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"all": {}}, "reviews.csv has no row; expected rows below the names of the columns"),
        ({"all": {None: 3}}, "a classifier needs at least two labels; column 'label' holds no value"),
        ({"all": {"a": 3}}, "a classifier needs at least two labels; column 'label' holds 'a' (3)"),
        (
            {"all": {"1": 3, "1.0": 2}},
            "column 'label' holds '1' (3) and '1.0' (2), which differ only in form; name both",
        ),
        (
            {"all": {"True": 3, "true": 2, "no": 1}},
            "column 'label' holds 'True' (3) and 'true' (2), which differ only in",
        ),
        (
            {"all": {"9" * 5000: 3, "1": 2}},
            "column 'label' holds a value of 5000 characters (99999999999999999999…), so it",
        ),
        (
            {"all": {"0": 3, "1": 2, "-1": 4}},
            "column 'label' holds -1 in 4 rows, which often means that a row has no label",
        ),
        (
            {"all": {str(row): 1 for row in range(1001)}},
            "column 'label' holds more than 1,000 different values, so it is probably not",
        ),
        (
            {"train": {"a": 3, "b": 2}, "test": {"a": 1, "c": 1}},
            "test has rows of the label 'c' and train has none, so it cannot be learnt; add rows to train, or leave the label",
        ),
    ],
)
def test_values_that_cannot_be_labels_are_refused(counts, message):
    with pytest.raises(UserError) as caught:
        names(counts)
    assert str(caught.value).startswith(message)


def test_labels_that_differ_in_form_may_be_one_label_or_two_where_both_are_named():
    counts = {"all": {"1": 3, "1.0": 2, "0": 1}}
    assert names(counts, {"1": "yes", "1.0": "yes", "0": "no"}) == {"1": "yes", "1.0": "yes", "0": "no"}
    with pytest.raises(UserError, match="differ only in form"):
        names(counts, {"1": "yes", "0": "no"})


def test_minus_one_may_be_a_label_where_it_is_named_or_where_there_is_no_zero():
    assert list(names({"all": {"-1": 1, "1": 1}})) == ["-1", "1"]
    mapping = {"-1": "negative", "0": "neutral", "1": "positive"}
    assert names({"all": {"-1": 1, "0": 1, "1": 1}}, mapping) == mapping


def test_many_labels_take_no_more_than_a_moment():
    counts = {str(number): 1 for number in range(60_000)}
    labels = {value: f"label {value}" for value in counts}
    start = time.perf_counter()
    assert len(names({"train": counts, "test": counts}, labels)) == 60_000
    assert time.perf_counter() - start < 10
