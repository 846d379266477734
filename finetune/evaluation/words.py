"""Words in any language: scripts that put spaces between them, and scripts that do not."""

import re
from collections.abc import Iterable

from finetune.rows.tokenizer_fit import SPACELESS


def any_of(words: Iterable[str]) -> re.Pattern:
    """Pattern that finds any of the words, in upper or lower case.

    A word of a script with spaces is found whole ("no", not "know"), one with an apostrophe also as a
    part of another ("n't" in "isn't", "n'" in "n'est"), one of a script without spaces anywhere ("不" in "不好").
    Without words nothing matches. Pass texts through `plain_apostrophes` first.
    """
    parts = []
    for word in sorted(map(plain_apostrophes, words), key=len, reverse=True):
        start = "" if "'" in word or re.match(f"[{SPACELESS}]", word) else r"(?<!\w)"
        end = "" if re.search(f"['{SPACELESS}]$", word) else r"(?!\w)"
        parts.append(start + re.escape(word) + end)
    return re.compile("|".join(parts) or r"(?!)", re.IGNORECASE)


def plain_apostrophes(text: str) -> str:
    """Text with typographic apostrophes as plain ones: "isn’t" -> "isn't"."""
    return text.replace("’", "'")
