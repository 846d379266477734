"""CSV files that a person opens in a spreadsheet, which would compute a text such as `=HYPERLINK(…)` as a formula.

The rule: a text that begins like a formula has an apostrophe in front, and so has one that begins with apostrophes before
such a text. Whoever reads the file takes one apostrophe away from a cell that begins with it and continues like that.
https://owasp.org/www-community/attacks/CSV_Injection
"""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path

from finetune.base.files import write_csv

# Signs that open a formula, also in full width and after blanks, which some programs skip; a tab, a carriage return or a NUL
# alone, which others drop.
FORMULA = re.compile(r"'*(?:[\s\0]*[=+\-@＝＋－＠]|[\t\r\0])")


def guarded(value):
    """A text as a cell that no spreadsheet computes, any other value unchanged: "=1+1" -> "'=1+1", "'=1+1" -> "''=1+1"."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def unguarded(cell):
    """The text of a cell that `guarded` made; any other cell, and what a damaged row lacks, unchanged."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and FORMULA.match(cell, 1) else cell


def write_spreadsheet(path: Path, header: list[str], rows: Iterable):
    """Rows under a header as CSV for a spreadsheet, floats rounded."""
    write_csv(path, header, ([guarded(value) for value in row] for row in rows))


def read_spreadsheet(text: str) -> list[dict[str, str]]:
    """Rows of a file that `write_spreadsheet` wrote, from its text."""
    rows = csv.DictReader(io.StringIO(text, newline=""))
    return [{name: unguarded(cell) for name, cell in row.items()} for row in rows]
