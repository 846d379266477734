"""Slices of the rows and words in any language."""

import numpy as np
import pytest

from finetune.evaluation.slices import length_names, slice_names, slice_scores, worst_slice
from finetune.evaluation.words import any_of, plain_apostrophes

ENGLISH = ["no", "not", "n't", "never"]


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("It is not good.", ENGLISH, True),
        ("NOT good", ENGLISH, True),
        ("I know a knot", ENGLISH, False),
        ("It isn't good", ENGLISH, True),
        ("It isn’t good", ENGLISH, True),
        ("It is good", ENGLISH, False),
        ("这部电影不好看", ["不", "没"], True),
        ("这部电影好看", ["不", "没"], False),
        ("nicht gut", ["nicht", "kein"], True),
        ("vernichtend", ["nicht", "kein"], False),
        ("ce n'est pas", ["n'"], True),
        ("anything", [], False),
    ],
)
def test_negations_are_found_as_words_or_in_scripts_without_spaces_anywhere(text, words, found):
    assert bool(any_of(words).search(plain_apostrophes(text))) is found


def test_lengths_fall_into_thirds_and_equal_ones_stay_together():
    assert length_names(np.arange(1, 10)).tolist() == ["short"] * 3 + ["medium"] * 3 + ["long"] * 3
    # Three of five texts are cut at 128: both ends of the middle third may lie there.
    assert length_names(np.array([10, 128, 20, 128, 128])).tolist() == ["short", "long", "short", "long", "long"]


def scores(min_rows: int = 2, groups=("a", "a", "b", None)) -> dict:
    """Four rows, right except for the second; two of a group "a", one of "b", one of none."""
    kinds = slice_names(
        texts=["good", "not good", "bad", "no way"],
        lengths=np.array([1, 2, 3, 4]),
        truncated=[False] * 4,
        labels=["positive", "negative", "negative", "negative"],
        groups=groups,
        negations=ENGLISH,
    )
    return slice_scores(np.array([True, False, True, True]), kinds, min_rows)


def test_each_slice_has_its_accuracy_and_rows_and_empty_ones_are_left_out():
    found = scores()
    assert set(found["truncated"]) == {"no"}
    assert {name: (entry["accuracy"], entry["rows"]) for name, entry in found["negation"].items()} == {
        "with": (1 / 2, 2),
        "without": (1.0, 2),
    }
    assert {name: entry["rows"] for name, entry in found["label"].items()} == {"positive": 1, "negative": 3}
    assert set(found["group"]) == {"a"}  # "b" has one row, fewer than two
    assert scores(groups=[None] * 4)["group"] == {}


def test_the_worst_slice_has_enough_rows_and_an_interval_for_all_that_were_compared():
    """Among slices of at least two rows, short (1/2) comes first of the lowest; negation and group a have 1/2 too."""
    found = scores()
    worst = worst_slice(found, min_rows=2)
    assert worst["accuracy"] == 1 / 2
    large = [entry for members in found.values() for entry in members.values() if entry["rows"] >= 2]
    assert worst["compared"] == len(large)
    kind, name = worst["slice"].split(": ")
    alone = found[kind][name]["interval"]
    assert worst["interval"]["low"] < alone["low"]
    assert worst["interval"]["high"] > alone["high"]
    assert worst_slice(found, min_rows=5) is None
