"""Lists that a person opens in a spreadsheet compute nothing and read back equal."""

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.evaluation.spreadsheet import guarded, read_spreadsheet, unguarded, write_spreadsheet
from finetune.report.plot_files import review_list
from finetune.results.revisions import Revision

TEXTS = st.text(st.sampled_from("'=+-@\t\r\n\0 ,;\"a1＝好")) | st.text(st.characters(exclude_categories=["Cs"]))
OPENS = ("=", "+", "-", "@", "\t", "\r", "\0", "＝", "＋", "－", "＠")


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("'=1+1", "''=1+1"),
        ("''=1+1", "'''=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        (" \n=1", "' \n=1"),
        ("\ttab", "'\ttab"),
        ("\rreturn", "'\rreturn"),
        ("＝1", "'＝1"),
        ("'tis good", "'tis good"),
        ("\na line", "\na line"),
        ("a=b", "a=b"),
        ("", ""),
        (-0.5, -0.5),
        (None, None),
    ],
)
def test_a_text_that_begins_like_a_formula_has_an_apostrophe_in_front(text, cell):
    assert guarded(text) == cell
    assert unguarded(cell) == text


@given(TEXTS)
def test_no_cell_opens_a_formula_and_every_text_comes_back(text):
    cell = guarded(text)
    assert not cell.startswith(OPENS)
    assert not cell.lstrip().startswith(("=", "+", "-", "@"))
    assert unguarded(cell) == text


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
def test_a_file_reads_back_equal(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "list.csv"
    write_spreadsheet(path, ["one", "two"], rows)
    found = read_spreadsheet(path.read_bytes().decode())
    assert [(row["one"], row["two"]) for row in found] == rows


@pytest.mark.usefixtures("workdir")
def test_the_report_shows_the_texts_and_not_their_apostrophes():
    path = Path("data/predictions/near_duplicates.csv")
    write_spreadsheet(path, ["similarity", "text"], [[0.9, "=1+1"]])
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [["similarity", "text"], ["0.9", "'=1+1"]]
    assert review_list(Revision(), path) == [{"similarity": "0.9", "text": "=1+1"}]
    assert review_list(Revision(), path.with_name("other.csv")) == []
