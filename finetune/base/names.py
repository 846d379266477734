"""Labels, groups and column names in one form, so that spellings that look the same are the same."""

import functools
import math
import unicodedata

UNSURE_NAME = "unsure"  # shown in place of a label where a text gets none
# Not invisible: they change the look of Persian, Indic scripts and emoji.
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"

# They change or join their neighbours, or fill a space; alone they show nothing. Joiners, variation selectors, the
# combining grapheme joiner, fillers of Hangul, the empty Braille pattern; Default_Ignorable_Code_Point in
# https://www.unicode.org/reports/tr44/ has most of them.
UNSEEN_ALONE = " \u034f\u115f\u1160\u200c\u200d\u2800\u3164\uffa0" + "".join(
    map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)])
)


def normal_name(value: str | None) -> str | None:
    """The value in Unicode's NFC, without invisible characters, each run of white space as one blank and none at the ends.

    None if nothing is left. Control and format characters are invisible, such as a zero-width space, a byte order mark or
    a direction mark: "\\ufefffilm\\u00a01 " -> "film 1". https://www.unicode.org/reports/tr15/
    """
    if value is None:
        return None
    if not (value.isascii() and value.isprintable()):
        # First without invisible characters: one between a letter and its accent would prevent their composition.
        for letter in filter(invisible, set(value)):
            value = value.replace(letter, "")
        value = unicodedata.normalize("NFC", value)
    return " ".join(value.split()) or None


def nothing_to_see(text: str) -> bool:
    """Whether no character of a text can be seen: blanks, invisible characters, and those that only change their neighbours."""
    return not (normal_name(text) or "").strip(UNSEEN_ALONE)


@functools.lru_cache(maxsize=10_000)  # texts of a million rows have few different characters
def invisible(letter: str) -> bool:
    """Whether a character has no width and no effect on how its neighbours look."""
    return unicodedata.category(letter) in ("Cc", "Cf") and not letter.isspace() and letter not in JOINERS


def name_form(value: str) -> str:
    """A key that two names share if they differ only in form: `1` and `1.0`, `True` and `true`, full and half width.

    Two such names are almost always one name, written by two programs.
    """
    folded = unicodedata.normalize("NFKC", value).casefold()
    try:
        number = float(folded)
    except ValueError:
        return folded
    return repr(number) if math.isfinite(number) else folded
