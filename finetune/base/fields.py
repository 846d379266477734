"""Texts of several columns: the fields of a row, and the one text that they join to."""

from collections.abc import Sequence

from finetune.base.names import nothing_to_see

# A bar is a token of its own in every vocabulary, is rare in texts, and can be read in a table.
SEPARATOR = " | "
Text = str | Sequence[str | None]  # a text, or the fields of a row in the order of their columns


def joined(text: Text) -> str:
    """A text as it is, or fields as one text in which each keeps its place: ("a", None, "c") -> "a |  | c"."""
    return text if isinstance(text, str) else SEPARATOR.join(field or "" for field in text)


def is_blank(text: Text | None) -> bool:
    """Whether nothing of a text, or of any of its fields, can be seen."""
    if text is None or isinstance(text, str):
        return not text or nothing_to_see(text)
    return all(map(is_blank, text))
