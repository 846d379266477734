"""Tables that predict writes read back equal, by this project's reader and by the usual ones."""

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from finetune.predict.writer import table_writer
from finetune.sources.tables import read_batches

# Every way to end a line, separators, quotes, blanks and control characters, and any other text that UTF-8 can hold.
TEXTS = st.text(st.sampled_from("a,;\t\"'\r\n\v\f\x00\x1c\x1d\x1e\x85\u2028\u2029\ufeff ")) | st.text(
    st.characters(exclude_categories=["Cs"])
)
SWALLOWED = [("a,b,good,0.5\na", "b"), ("a", "b")]  # looks like rows that a raw quote has swallowed
BLANK_QUOTE = [(' "', 'a, "b'), (' "', 'a\t "b')]


def written(folder: Path, name: str, rows: list[tuple[str, str]]) -> Path:
    """File with these texts, and a label and a probability for each, written in two batches."""
    texts, notes = zip(*rows, strict=True) if rows else ((), ())
    table = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "note": pa.array(notes, pa.string()),
            "label": pa.array(["good"] * len(rows), pa.string()),
            "probability": pa.array([0.5] * len(rows), pa.float64()),
        }
    )
    with table_writer(folder / name, table.schema) as write:
        write(table.slice(0, 1))
        write(table.slice(1))
    return folder / name


def content(path: Path) -> io.StringIO:
    """Decompressed text of a file, with every line break as it is."""
    data = path.read_bytes()
    return io.StringIO((gzip.decompress(data) if path.suffix == ".gz" else data).decode(), newline="")


def by_others(path: Path) -> list[tuple[str, str]]:
    """Texts and notes as Python's csv and json and as Arrow read them."""
    if ".parquet" in path.suffixes:
        found = pq.read_table(path).to_pylist()
    elif ".jsonl" in path.suffixes:
        found = [json.loads(line) for line in content(path).read().split("\n")[:-1]]
    else:
        found = list(csv.DictReader(content(path), delimiter="\t" if ".tsv" in path.suffixes else ",", strict=True))
    return [(row["text"], row["note"]) for row in found]


@pytest.mark.parametrize(
    "name",
    ["out.csv", "out.tsv", "out.jsonl", "out.parquet", "out.csv.gz", "out.tsv.gz", "out.jsonl.gz"],
)
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), max_size=5))
@example(rows=SWALLOWED)
@example(rows=[(text.replace(",", "\t"), note) for text, note in SWALLOWED])
@example(rows=BLANK_QUOTE)
@example(rows=[("a\rb", "c\r\nd"), ("", " "), ('"', "\n")])
def test_every_text_reads_back(tmp_path_factory, name, rows):
    path = written(tmp_path_factory.getbasetemp(), name, rows)
    assert by_others(path) == rows
    batches = list(read_batches(path, ["text", "note"]))
    assert [pair for batch in batches for pair in zip(batch["text"], batch["note"], strict=True)] == rows
