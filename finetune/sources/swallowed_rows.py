"""Rows of a CSV file that a raw double quote has swallowed.

A text such as `"Best film ever` opens a quoted field if its quote is not written twice. The field ends at the next raw quote,
perhaps many rows later, and the file is still valid by RFC 4180. Whether it is one text with line breaks or many rows cannot
be decided for certain, but swallowed rows look like rows: each line has one value for each column, and these values occur in
the rest of the file.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from finetune.base.errors import UserError
from finetune.sources.bounds import LONGEST_ROW

MOST_VALUES = 1_000  # kept for a column; one with more is free text or an id, and says little
LONGEST_VALUE = 1_000  # characters; a column with a longer one is free text
ALL_VALUES = 1_000_000  # kept for all columns of a table


class LongRow(Exception):
    """A row has more than LONGEST_ROW characters."""


class RecentLines:
    """Lines of a file, for `csv.reader`; `taken()` gives those that the last row was made of.

    Raises LongRow before these have more than LONGEST_ROW characters.
    """

    def __init__(self, lines: Iterable[str]):
        self.lines, self.recent, self.characters = iter(lines), [], 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self.lines)
        self.recent.append(line)
        self.characters += len(line)
        if self.characters > LONGEST_ROW:
            raise LongRow
        return line

    def taken(self) -> list[str]:
        lines, self.recent, self.characters = self.recent, [], 0
        return lines


class Column:
    """What the undoubted rows hold in one column: up to `most` values, and whether all are numbers."""

    def __init__(self, most: int = MOST_VALUES):
        self.values: set[str] | None = set()
        self.numbers, self.most = True, most

    def add(self, value: str):
        self.numbers = self.numbers and is_number(value)
        if self.values is not None:
            self.values.add(value)
            if len(self.values) > self.most or len(value) > LONGEST_VALUE:
                self.values = None

    def expects(self, values: list[str]) -> bool:
        """Whether these values could stand in this column too."""
        if self.values == set():  # no undoubted row: a repeated value must do
            return len(set(values)) < len(values)
        return all(values) and (
            (self.values is not None and self.values >= set(values)) or (self.numbers and all(map(is_number, values)))
        )


class SwallowedRows:
    """Collects what is needed to tell swallowed rows from a text with line breaks; `refuse` decides at the end of the file."""

    def __init__(self, columns: int, separator: str):
        most = min(MOST_VALUES, ALL_VALUES // columns)
        self.columns, self.separator = [Column(most) for _ in range(columns)], separator
        self.doubtful: list[tuple[int, list[list[str]]]] = []

    def see(self, row: list[str], lines: list[str], last_line: int):
        """Takes in a row, the lines it was made of and the number of the last of them."""
        if len(lines) > 1 and len(self.columns) > 1 and not all(quoted_fields(row, "".join(lines), self.separator)):
            rows = [line.rstrip("\r\n").split(self.separator) for line in lines if line.strip()]
            if all(len(values) == len(self.columns) for values in rows):
                self.doubtful.append((last_line - len(lines) + 1, rows))
                return
        for column, value in zip(self.columns, row, strict=False):
            column.add(value)

    def refuse(self, path: Path):
        """Raises UserError for the first field that has swallowed rows."""
        for line, rows in self.doubtful:
            if self.separator == "\t" or any(self.looks_like(rows)):
                raise UserError(
                    f"{path} line {line}: a double quote opens a field that ends {len(rows) - 1} lines later, and each of these "
                    "lines looks like a row; put a text that holds double quotes in double quotes and write each of its own twice"
                )

    def looks_like(self, rows: list[list[str]]) -> Iterator[bool]:
        """For each column that lies outside the quotes, whether the lines hold what the column holds elsewhere."""
        for column, *values in zip(self.columns, *rows, strict=True):
            if not any('"' in value for value in values):
                yield column.expects(values)


def quoted_fields(row: list[str], raw: str, separator: str) -> list[bool]:
    """For each field of a row whether `raw`, the lines that the row was read from, has it in double quotes.

    A row with every field in quotes is no row that a raw quote has made: the quotes around the others would not fit.
    """
    quoted, place = [], 0
    for field in row:
        quoted.append(raw.startswith('"', place))
        place += len(field) + (field.count('"') + 2 if quoted[-1] else 0) + len(separator)
    return quoted


def is_number(value: str) -> bool:
    """Whether a value is written as a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True
