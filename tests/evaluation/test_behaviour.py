"""Edits of texts: what they change, what they leave alone."""

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.evaluation.behaviour import all_edits, failed_rows, failure_entry
from finetune.evaluation.edits import case, contractions, negation, neutral, typos
from finetune.evaluation.words import SPACELESS

CHINESE = "这部电影不好看，剧情太长了。"


def chance() -> random.Random:
    """The same random numbers on every call."""
    return random.Random(0)


def test_a_typo_swaps_two_inner_letters_of_one_word_in_a_short_text():
    assert typos("a big star", chance()) == "a big satr"  # only "star" has two inner letters
    assert typos("it was all too", chance()) == "it was all too"  # no word of four letters
    assert typos("noon", chance()) == "noon"  # the inner letters are equal


@given(st.text(st.sampled_from("abcde .,ßéÄ看片"), max_size=200))
def test_a_typo_keeps_every_letter_and_the_ends_of_words(text):
    edited = typos(text, chance())
    assert sorted(edited) == sorted(text)
    assert typos(text, chance()) == edited
    for before, after in zip(text.split(), edited.split(), strict=True):
        assert (before[0], before[-1]) == (after[0], after[-1])
    changed = sum(before != after for before, after in zip(text.split(), edited.split(), strict=True))
    assert changed <= max(1, len(text.split()))


def test_scripts_without_spaces_are_left_alone_by_typos():
    assert typos(CHINESE, chance()) == CHINESE
    assert typos("これはつまらない", chance()) == "これはつまらない"


@given(st.text(max_size=50))
def test_edits_take_any_text(text):
    for edit in (typos, case, contractions, negation, neutral(["So."])):
        assert edit(text, chance()) == edit(text, chance())


def test_case():
    assert case("A Film", chance()) == "a film"
    assert case("a film", chance()) == "A FILM"
    assert case("电影", chance()) == "电影"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("It isn't good.", "It is not good."),
        ("It isn’t good.", "It is not good."),
        ("Don't go. It won't help.", "Do not go. It will not help."),
        ("I CAN'T STAND IT", "I CANNOT STAND IT"),
        ("I cannot stand it", "I can't stand it"),
        ("They are not there", "They aren't there"),
        ("Isn't it good?", "Isn't it good?"),  # "is not it" is no English
        ("It's his film", "It's his film"),  # 's may be "is", "has" or "his"
        (CHINESE, CHINESE),
    ],
)
def test_contractions(before, after):
    assert contractions(before, chance()) == after


def test_a_neutral_sentence_comes_first_with_a_space_where_its_script_has_one():
    assert neutral(["So."])("A film", chance()) == "So. A film"
    assert neutral(["以下是记录。"])("好看", chance()) == "以下是记录。好看"
    assert neutral([])("A film", chance()) == "A film"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("The film is good.", "The film is not good."),
        ("The film isn't good.", "The film is good."),
        ("It's a clever thriller", "It's not a clever thriller"),
        ("The jokes don't work", "The jokes do work"),
        ("The plot has been seen", "The plot has not been seen"),
        ("I can't follow it", "I can follow it"),
        ("The jokes WON'T work", "The jokes WILL work"),
    ],
)
def test_negation(before, after):
    assert negation(before, chance()) == after


@pytest.mark.parametrize(
    "text",
    [
        "A good film",  # no verb to negate
        "It is good and it is long",  # two
        "It is never good",  # another negation
        "It is good, if long",  # more than one clause
        "It is good. Go.",
        "Is it good?",
        "A must-see",
        "It may be good",
        "The film has a heart",  # "has not a heart" is no English
        "Don't miss it",
        "One of the many films here is good",  # seven words before the verb
        "The film is " + "very " * 20 + "good",
        CHINESE,
    ],
)
def test_negation_skips_texts_that_it_cannot_safely_reverse(text):
    assert negation(text, chance()) == text


def test_each_edit_has_at_most_limit_rows_and_negation_only_rows_answered_correctly():
    texts = [f"The Film number {row} is good" for row in range(20)]
    right = np.arange(20) < 5
    edited = all_edits(texts, 10, ["So."], right)
    assert edited == all_edits(texts, 10, ["So."], right)
    assert {name: len(rows) for name, rows in edited.items()} == {"typos": 10, "case": 10, "neutral": 10, "negation": 5}
    assert set(edited["negation"]) == set(range(5))
    assert "negation" not in all_edits(texts, 10, ["So."], None)
    assert all_edits(texts, 0, ["So."], right) == {}


def test_a_row_fails_when_its_label_changes_or_for_negation_stays_the_same():
    differ = np.array([0, 1, 1]) != np.array([0, 0, 1])
    assert failed_rows("typos", differ).tolist() == [False, True, False]
    assert failed_rows("negation", differ).tolist() == [True, False, True]
    entry = failure_entry(np.array([False, True, False, False]))
    assert (entry["failure_rate"], entry["rows"]) == (0.25, 4)
    assert entry["interval"]["low"] < 0.25 < entry["interval"]["high"]


def test_the_ranges_of_scripts_without_spaces_contain_no_latin_letter():
    assert not re.search(f"[{SPACELESS}]", "azAZäñЖω한हिא")
