"""Tables as people have them: line breaks, raw quotes, NaN, odd names of columns, other encodings and separators."""

import csv
import io
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.base.errors import UserError
from finetune.predict import __main__ as command_line
from finetune.predict.answers import arrived_lines
from tests.support.random_export import NAMES


@pytest.fixture
def scored(shipped, workdir, monkeypatch):
    """Function that writes a table, scores it in this process and returns the path of the output."""

    def run(name: str, content: str | bytes | pa.Table, output: str, *more: str) -> Path:
        if isinstance(content, pa.Table):
            pq.write_table(content, name)
        else:
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.setattr(
            sys, "argv", ["predict", "--model", str(shipped), "--input", name, "--output", output, *more]
        )
        monkeypatch.setattr("signal.signal", lambda *_: None)
        command_line.main()
        return workdir / output

    return run


def refusal(scored, *arguments) -> str:
    """The one-line error of scoring a table, which leaves nothing but the table."""
    with pytest.raises(UserError) as caught:
        scored(*arguments)
    assert "\n" not in str(caught.value)
    assert [path.name for path in Path.cwd().iterdir()] == [arguments[0]]
    return str(caught.value)


def rows_of(path: Path) -> list[dict]:
    """Rows of a CSV file or of JSON Lines, by Python's own readers."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


# Line breaks and quotes.


@pytest.mark.parametrize("output", ["out.csv", "out.jsonl"])
def test_a_bare_carriage_return_in_a_text_stays_inside_its_row(scored, output):
    lines = '{"id": "1", "text": "a joy\\rto watch"}\n{"id": "2", "text": "a waste of time"}\n'
    found = rows_of(scored("in.jsonl", lines, output))
    assert [(row["id"], row["text"]) for row in found] == [("1", "a joy\rto watch"), ("2", "a waste of time")]
    assert all(row["label"] in NAMES for row in found)


def test_line_breaks_inside_texts_stay_and_rows_end_in_a_line_feed(scored):
    content = 'id,text,note\r\n1,"a joy\r\nto watch","b\nc"\r\n2,"a\rwaste",\r\n'
    path = scored("in.csv", content, "out.csv")
    assert [(row["text"], row["note"]) for row in rows_of(path)] == [("a joy\r\nto watch", "b\nc"), ("a\rwaste", "")]
    data = path.read_bytes()
    assert data.count(b"\r\n") == 1  # the one inside the text
    assert data.startswith(b"id,text,note,label,")


def test_raw_quotes_that_swallow_rows_are_refused_with_their_line(scored):
    content = '"Best film ever\tgood\nnice one\tgood\nbad one\tbad\nshe said wow"\tgood\nfine\tgood\nso so\tbad\n'
    message = refusal(scored, "in.tsv", "text\tlabel\n" + content, "out.tsv", "--prefix", "new_")
    assert message.startswith("in.tsv line 2: a double quote opens a field that ends 3 lines later")


# Missing texts and numbers.


@pytest.mark.parametrize(
    ("texts", "kind"), [([1.5, float("nan"), None], pa.float64()), ([1.5, float("nan"), None], pa.float32())]
)
def test_nan_in_a_parquet_column_of_numbers_has_no_label(scored, texts, kind):
    found = rows_of(scored("in.parquet", pa.table({"text": pa.array(texts, kind)}), "out.jsonl"))
    assert [row["text"] for row in found] == [1.5, None, None]
    assert [row["label"] is None for row in found] == [False, True, True]
    assert [row["probability"] is None for row in found] == [False, True, True]


def test_nan_among_the_texts_of_pandas_has_no_label(scored):
    import pandas as pd

    pd.DataFrame({"text": ["good", float("nan"), None, "nan"]}, dtype=object).to_parquet("texts.parquet")
    content = Path("texts.parquet").read_bytes()
    found = rows_of(scored("in.parquet", content, "out.jsonl"))
    # The word is a word.
    assert [row["text"] for row in found] == ["good", None, None, "nan"]
    assert [row["label"] is None for row in found] == [False, True, True, False]


def test_nan_in_json_has_no_label_and_comes_out_as_null(scored):
    content = '{"text": "good", "n": 1.0}\n{"text": NaN, "n": NaN}\n'
    found = rows_of(scored("in.jsonl", content, "out.jsonl"))
    assert [(row["text"], row["n"], row["label"] is None) for row in found] == [
        ("good", 1.0, False),
        (None, None, True),
    ]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16()])
def test_nan_is_an_empty_field_in_csv(scored, kind):
    table = pa.table({"text": ["a", "b", "c"], "n": pa.array([0.5, float("nan"), None], kind)})
    assert [row["n"] for row in rows_of(scored("in.parquet", table, "out.csv"))] == ["0.5", "", ""]


# Names of columns.


@pytest.mark.parametrize("option", ["review", "review ", "\ufeffreview"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.jsonl", '{"id": 1, " review\u200b": "good"}\n'),
        ("in.csv", "id, review\u200b\n1,good\n"),
        ("in.parquet", pa.table({"id": [1], " review\u200b": ["good"]})),
    ],
)
def test_the_text_column_is_found_whatever_blanks_its_name_has(scored, name, content, option):
    (row,) = rows_of(scored(name, content, "out.jsonl", "--text-column", option))
    assert row["label"] in NAMES
    # CSV's names come in their normal form; the others keep theirs.
    assert list(row)[:2] == ["id", "review" if name == "in.csv" else " review\u200b"]


def test_a_new_column_must_not_look_like_an_old_one(scored):
    message = refusal(scored, "in.jsonl", '{"text": "good", "label ": "x"}\n', "out.csv")
    assert message == "in.jsonl already has a column 'label'; rename the new ones, for example with --prefix predicted_"


def test_empty_names_at_the_end_of_the_header_are_left_out(scored):
    found = rows_of(scored("in.csv", "text,x,,\nA joy to watch,1,,\nA waste,2,,\n", "out.csv"))
    assert [list(row.values())[:2] for row in found] == [["A joy to watch", "1"], ["A waste", "2"]]
    assert list(found[0])[:3] == ["text", "x", "label"]


def test_a_value_under_an_empty_name_is_not_dropped_silently(scored):
    message = refusal(scored, "in.csv", "text,x,,\nA joy to watch,1,,\nA waste,2,,lost\n", "out.csv")
    assert message.startswith("in.csv line 3 has 4 fields, expected 2")


# Separators and encodings.


@pytest.mark.parametrize(("name", "mark", "word"), [("in.csv", ";", "semicolons"), ("in.tsv", ",", "commas")])
def test_another_separator_is_named_and_nothing_else_asked_for(scored, name, mark, word):
    message = refusal(scored, name, f"text{mark}label\nA joy{mark}good\n", "out.csv")
    assert message == (
        f"{name} has no column 'text'; its columns are text{mark}label; they seem to be separated by {word}: "
        "save the table with commas as .csv, or with tabs as .tsv"
    )


@pytest.mark.parametrize(
    ("encoding", "found"), [("utf-16", "is UTF-16;"), ("utf-16-le", "has NUL bytes, so it is probably UTF-16LE;")]
)
def test_utf_16_is_named_in_a_table_and_on_stdin(scored, tmp_path, encoding, found):
    content = "text\na joy\n".encode(encoding)
    assert refusal(scored, "in.csv", content, "out.csv").startswith(f"in.csv {found} save it as UTF-8 ")
    with (tmp_path / "in.csv").open("rb") as stdin, pytest.raises(UserError) as caught:
        list(arrived_lines(stdin))
    assert str(caught.value).startswith(f"stdin {found} save it as UTF-8 ")


def test_a_single_nul_in_a_line_from_stdin_is_no_sign_of_utf_16():
    assert list(arrived_lines(io.BufferedReader(io.BytesIO(b"a\0b\n\0\0\n")))) == [["a\0b", "\0\0"]]


def test_latin_1_is_not_called_utf_16(scored):
    content = "text\ncaf\xe9\n".encode("latin-1")
    assert refusal(scored, "in.csv", content, "out.csv") == "in.csv is not UTF-8 (line 2); save it as UTF-8"
