"""How well a tokenizer fits texts: measured, and judged."""

import pytest

from finetune.rows.tokenizer_fit import misfit, spaced_word, tokenizer_fit
from tests.support.tiny import albert_tokenizer, bert_tokenizer, roberta_tokenizer

FITS = {"unknown": 0.0, "per_word": 1.2, "characters": 4.0}


def test_unknown_tokens_words_and_characters_are_counted():
    """Of the tokens the, film, [UNK], [UNK] and . two are unknown; three words take three tokens; 3+4+3+2+1 characters."""
    assert tokenizer_fit(["the film zzz", "42."], bert_tokenizer()) == {
        "unknown": 2 / 5,
        "per_word": 1.0,
        "characters": 13 / 5,
    }


def test_a_word_of_another_language_is_cut_into_letters():
    """▁film is one piece; f i l m e takes six, with the space in front."""
    assert tokenizer_fit(["film film film filme"], albert_tokenizer())["per_word"] == (3 + 2) / 4
    assert tokenizer_fit(["film werk"], albert_tokenizer())["per_word"] == (1 + 5) / 2


def test_a_byte_level_tokenizer_takes_several_tokens_for_a_character_and_knows_all_of_them():
    """Three bytes each."""
    fit = tokenizer_fit(["好坏"], roberta_tokenizer())
    assert fit == {"unknown": 0.0, "per_word": None, "characters": pytest.approx(1 / 3)}
    assert "a character takes 3.0 tokens (usual: at most 1.1)" in misfit(fit)


def test_a_text_that_gives_no_token_counts_as_unknown():
    """BERT's tokenizer removes replacement characters."""
    assert tokenizer_fit(["\ufffd\ufffd", "the film"], bert_tokenizer())["unknown"] == 1 / 3


@pytest.mark.parametrize(
    ("piece", "word"),
    [
        ('"great,"', "great"),
        ("(naïve).", "naïve"),
        ("फिल्म।", "फिल्म"),
        ("isn't", None),
        ("v4.12.3", None),
        ("2024", None),
        ("😀", None),
        ("...", None),
        ("电影", None),
        ("iPhone真好", None),
        ("영화가", "영화가"),
    ],
)
def test_a_word_is_letters_between_spaces(piece, word):
    assert spaced_word(piece) == word


def test_words_of_a_few_brand_names_say_nothing_about_a_text_without_spaces():
    assert tokenizer_fit(["这部电影 filme 真的很好看"], albert_tokenizer())["per_word"] is None


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, None),
        ({"unknown": 0.05, "per_word": 1.6, "characters": 0.9}, None),
        ({"unknown": 0.64, "per_word": None}, "64% of the tokens are unknown (usual: at most 5%)"),
        ({"per_word": 2.43}, "a word takes 2.4 tokens (usual: at most 1.6)"),
        ({"per_word": None, "characters": 1.0}, None),
    ],
)
def test_a_tokenizer_is_judged_by_its_worst_measure(changed, problem):
    found = misfit(FITS | changed)
    assert found is None if problem is None else f"fit the texts: {problem}; choose an encoder" in found
