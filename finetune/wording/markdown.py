"""Markdown that text from files cannot break: code spans, sentences and tables."""

import re

from tabulate import tabulate

from finetune.base.terminal import printable

NUMBER = re.compile(r"[+−-]?[\d.,]+( MB|%)?|-")
# Characters that begin or end emphasis, code, links, HTML, entities, cells and formulas, and those that make a line a heading,
# a list, a quotation or a rule. https://spec.commonmark.org/0.31.2/#backslash-escapes, https://github.github.com/gfm/
INLINE = re.compile(r"[\\`*_\[\]<>&|~$]|\A[-+=#:]|(?<=\A\d)[.)]|(?<=\A\d\d)[.)]")
# What GitHub itself makes a link of: addresses, mentions, which notify somebody, and numbers of issues.
LINKED = re.compile(r"(?<=www)(?=\.)|(?<=:)(?=//)|(?<=@)|(?<=#)(?=\d)|(?<=GH)(?=-\d)", re.IGNORECASE)


def code(text: str) -> str:
    """Text as code in a cell of a Markdown table: it makes no link, mention or picture, and does not end the cell.

    A backquote becomes an apostrophe, and a blank comes between a backslash and a bar, which some readers would take as one sign.
    """
    text = line_of(text).replace("`", "'").replace("\\|", "\\ |").replace("|", "\\|")
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """A sentence in Markdown that only shows its characters: no HTML, link, picture or mention, whatever it quotes."""
    text = INLINE.sub(r"\\\g<0>", line_of(text))
    return LINKED.sub("\N{ZERO WIDTH SPACE}", text)


def line_of(text: str) -> str:
    """Text on one line without characters that would reorder or hide it."""
    return printable(" ".join(text.split()), commands=True)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    columns = zip(*rows, strict=True)
    sides = ["right" if all(NUMBER.fullmatch(cell) for cell in column) else "left" for column in columns]
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True, colalign=sides)
