"""One form for labels, groups and column names."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.base.names import name_form, normal_name, nothing_to_see


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        ("film 1", "film 1"),
        (" film 1 ", "film 1"),
        ("film\u00a01", "film 1"),
        ("film \t 1\r\n", "film 1"),
        ("\ufefffilm 1", "film 1"),
        ("fi\u200blm\u00ad 1\u200e", "film 1"),
        ("cafe\u0301", "caf\u00e9"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),  # Persian, joined otherwise without it
        ("\u200b \u00ad", None),
        ("", None),
        (None, None),
    ],
)
def test_spellings_that_look_the_same_become_the_same(value, normal):
    assert normal_name(value) == normal


@given(st.text())
def test_a_normal_name_is_composed_trimmed_and_stays_as_it_is(value):
    normal = normal_name(value)
    if normal is not None:
        assert normal_name(normal) == normal
        assert unicodedata.normalize("NFC", normal) == normal
        assert normal == normal.strip()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1", "1.0", True),
        ("01", "1", True),
        ("True", "true", True),
        ("\uff21", "a", True),
        ("1", "2", False),
        ("nan", "inf", False),
        ("9" * 400, "8" * 400, False),  # too large for a float, so compared as text
        ("neg", "pos", False),
    ],
)
def test_names_that_differ_only_in_form_share_a_key(one, other, same):
    assert (name_form(one) == name_form(other)) is same


@pytest.mark.parametrize("text", ["", " \n", "\u200b", "\u200d\ufe0f", "\u202e\x00\x07", "\u3164\u2800\u00a0"])
def test_a_text_of_blanks_and_invisible_characters_shows_nothing(text):
    assert nothing_to_see(text)
    assert not nothing_to_see(text + "a")
    assert not nothing_to_see(text + "\N{HEAVY BLACK HEART}\ufe0f")
