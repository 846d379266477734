"""CSV and TSV, row by row, as RFC 4180 has them: quoted fields may hold separators, line breaks and doubled quotes."""

import csv
from collections.abc import Iterator
from pathlib import Path

from finetune.base.errors import UserError, one_line
from finetune.base.names import normal_name
from finetune.sources.bounds import LONGEST_ROW, bounded_lines, check_column_count
from finetune.sources.compressed import opened
from finetune.sources.swallowed_rows import LongRow, RecentLines, SwallowedRows, quoted_fields

QUOTES = "put a text that holds double quotes in double quotes and write each of its own twice"


def csv_rows(path: Path, separator: str) -> Iterator[list[str]]:
    """The names of the columns, then every row that is not blank, with at most as many fields as there are columns.

    Names come in their normal form (`finetune.base.names`); empty ones at the end of the header are left out. Raises
    UserError for too many columns and, with the line, for a row with more fields than columns or more than LONGEST_ROW
    characters, and for quotes that RFC 4180 does not allow or that have swallowed rows.
    """
    csv.field_size_limit(LONGEST_ROW)
    # utf-8-sig also takes the byte order mark that Excel writes.
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        lines = RecentLines(bounded_lines(file))
        # Strict: a quote that does not close would silently merge the rows that follow it.
        rows = csv.reader(lines, delimiter=separator, strict=True)
        try:
            header = next(filter(None, rows), None)
            if header is None:
                raise UserError(f"{path} is empty; expected a first line with the names of the columns")
            header = column_names(header)
            check_column_count(path, len(header))
            yield header
            lines.taken()
            swallowed = SwallowedRows(len(header), separator)
            for row in rows:
                taken = lines.taken()
                if row:
                    swallowed.see(row, taken, rows.line_num)
                    check_row(path, rows.line_num, row, len(header), separator, taken)
                    yield row
            swallowed.refuse(path)
        except LongRow:
            first = rows.line_num - len(lines.recent) + 2
            raise UserError(
                f"{path} line {first} begins a row of more than {LONGEST_ROW:,} characters; shorten it, or, if a double quote "
                f"there is never closed, {QUOTES}"
            ) from None
        except csv.Error as error:
            if "end of data" in str(error):
                first = rows.line_num - len(lines.taken()) + 1
                raise UserError(f"{path} line {first} opens a double quote that is never closed; {QUOTES}") from None
            raise UserError(f"{path} line {rows.line_num} cannot be read ({one_line(error)}); {QUOTES}") from None


def column_names(header: list[str]) -> list[str]:
    """Names of the columns in their normal form, without the empty ones that spreadsheets add at the end."""
    names = [normal_name(name) or "" for name in header]
    while names and not names[-1]:
        names.pop()
    return names or [""]


def check_row(path: Path, line: int, row: list[str], columns: int, separator: str, taken: list[str]):
    """Raises UserError for a blank before an opening quote, which makes the quote part of the text, and for too many fields."""
    blank = [place for place, field in enumerate(row) if field[:1] == " " and field.lstrip(" ")[:1] == '"']
    if blank:
        quoted = quoted_fields(row, "".join(taken), separator)
        if not all(quoted[place] for place in blank):
            raise UserError(
                f"{path} line {line} has a blank between a separator and a double quote; "
                "remove the blanks after the separators"
            )
    # Spreadsheets end rows with empty fields.
    if any(row[columns:]):
        raise UserError(
            f"{path} line {line} has {len(row)} fields, expected {columns}; "
            "put a text that contains the separator in double quotes"
        )
