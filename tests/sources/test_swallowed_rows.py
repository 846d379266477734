"""A raw double quote must not swallow rows in silence, and a text with line breaks must stay one text."""

import csv

import pytest

from finetune.base.errors import UserError
from finetune.sources.swallowed_rows import RecentLines, SwallowedRows


def check(tmp_path, content: str, separator: str = ","):
    """Reads a table as the readers do and asks whether rows were swallowed."""
    lines = RecentLines(content.splitlines(keepends=True))
    rows = csv.reader(lines, delimiter=separator, strict=True)
    swallowed = SwallowedRows(len(next(rows)), separator)
    lines.taken()
    for row in rows:
        swallowed.see(row, lines.taken(), rows.line_num)
    swallowed.refuse(tmp_path / "reviews.csv")


@pytest.mark.parametrize(
    ("content", "separator", "line"),
    [
        # Line 2 opens a field that line 5 closes.
        ('text\tlabel\n"Best ever\tgood\nnice one\tgood\nbad one\tbad\nshe said wow"\tgood\nfine\tgood\n', "\t", 2),
        ('text,label\nfine,good\n"Best ever,good\nshe said wow",bad\nso so,bad\n', ",", 3),
        ('label,text\ngood,fine\nbad,"Best ever\ngood,wow"\nbad,so so\n', ",", 3),
        # A blank line is no row.
        ('text,label\nfine,good\n"Best ever,good\n\nshe said wow",bad\nso so,bad\n', ",", 3),
        # Ids are all different, but they are numbers.
        ('id,text\n1,fine\n2,"Best ever\n3,wow"\n4,so so\n', ",", 3),
        # Every row is swallowed: a label that comes twice must do.
        ('text,label\n"Best ever,good\nnice one,good\nwow",bad\n', ",", 2),
    ],
)
def test_a_field_that_has_swallowed_rows_is_refused_with_its_line(tmp_path, content, separator, line):
    with pytest.raises(UserError, match=rf"reviews\.csv line {line}: a double quote opens a field"):
        check(tmp_path, content, separator)


@pytest.mark.parametrize(
    "content",
    [
        'text,label\n"two\nlines",good\nfine,bad\n',
        'text,label\n"Hello, world\nand so, on",good\nfine,bad\n',  # commas as in rows, but no label after them
        'text,label\n"He said ""wow, good""\nand left",good\nfine,bad\n',
        'text\n"two\nlines"\nfine\n',  # one column: no line can look like a row
        'id,text\n1,"first\n\nthird, fourth"\n2,fine\n',
    ],
)
def test_a_text_with_line_breaks_stays_one_text(tmp_path, content):
    check(tmp_path, content)
