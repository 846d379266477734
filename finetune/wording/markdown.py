"""Markdown that text from files cannot break: code spans and tables."""

import re

from tabulate import tabulate

NUMBER = re.compile(r"[+−-]?[\d.,]+( MB|%)?|-")


def code(text: str) -> str:
    """Text as code in a cell of a Markdown table: it makes no link, mention or picture, and does not end the cell."""
    text = " ".join(text.split()).replace("`", "'").replace("|", "\\|")
    return f"`{text}`"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    columns = zip(*rows, strict=True)
    sides = ["right" if all(NUMBER.fullmatch(cell) for cell in column) else "left" for column in columns]
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=sides)
