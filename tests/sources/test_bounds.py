"""Tables that would fill the memory are refused in one line, within seconds and little memory."""

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.base.errors import UserError
from finetune.base.params_data import Data
from finetune.sources import bounds
from finetune.sources.bounds import LONGEST_ROW, MOST_COLUMNS
from finetune.sources.raw_rows import write_rows
from finetune.sources.tables import check_columns, read_batches
from tests.conftest import ROOT

GIGABYTES = 3
MEMORY = 600  # MB that a process takes at most to refuse a file of gigabytes; with pyarrow it has 100 before it begins
# The peak is that of this process alone; getrusage would start from that of the process which runs the tests.
READ = """
import sys
from pathlib import Path
from finetune.base.errors import UserError
from finetune.sources.tables import check_columns, read_batches

try:
    print(sum(len(batch["text"]) for batch in read_batches(Path(sys.argv[1]), ["text", "label"])))
except UserError as error:
    print(error)
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def refused(path: Path) -> str:
    """What reading a table says, after a check that it takes seconds and little memory."""
    started = time.perf_counter()
    command = [sys.executable, "-c", READ, path]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.splitlines()
    assert len(done) == 2, done
    assert int(done[1]) / 1024 < MEMORY
    assert time.perf_counter() - started < 20  # on a busy machine; alone it takes two seconds
    return done[0]


def packed(path: Path, start: str, middle: str, end: str) -> Path:
    """A file of GIGABYTES, packed: `middle` again and again between `start` and `end`."""
    block = middle.encode() * (10_000_000 // len(middle))
    with gzip.open(path, "wb", 1) as file:
        file.write(start.encode())
        packed_block = gzip.compress(block, 1)
    with path.open("ab") as file:  # gzip files one after another are one file
        for _ in range(GIGABYTES * 100):
            file.write(packed_block)
        file.write(gzip.compress(end.encode()))
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory that Linux keeps")
@pytest.mark.parametrize(
    ("name", "start", "middle", "message"),
    [
        (
            "line.jsonl.gz",
            '{"text": "a", "label": "b"}\n{"text": "',
            "x",
            "line 2 has more than 10,000,000 characters;",
        ),
        ("wide.jsonl.gz", '{"text": "', "好", "line 1 has more than 10,000,000 characters;"),
        ("array.json.gz", "[", '{"text": "a", "label": "b"},', "expected one object per line, the object of one row"),
        ("field.csv.gz", "text,label\na,b\n", "x", "line 3 begins a row of more than 10,000,000 characters;"),
        ("quoted.csv.gz", 'text,label\na,b\n"', "x", "line 3 begins a row of more than 10,000,000 characters;"),
        ("swallowed.csv.gz", 'text,label\na,b\n"c', "x,y\n", "if a double quote there is never closed"),
        ("header.tsv.gz", "text\tlabel", "x", "line 1 begins a row of more than 10,000,000 characters;"),
        ("blanks.jsonl.gz", "", " ", "line 1 has more than 10,000,000 characters;"),
    ],
)
def test_a_row_of_gigabytes_is_refused_before_it_is_read(tmp_path, name, start, middle, message):
    assert message in refused(packed(tmp_path / name, start, middle, "\n"))


def test_undecodable_bytes_behind_a_long_line_are_found(tmp_path):
    """A million bytes, so the bad one is in the second step."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"text,label\na,b\n" + b"x" * 1_000_000 + b"\xff")
    with pytest.raises(UserError, match=r"is not UTF-8 \(line 3\)"):
        list(read_batches(path, ["text", "label"]))


def test_three_hundred_thousand_columns_are_refused(tmp_path):
    count = 300_000
    names = ["text", "label", *(f"c{number}" for number in range(count - 2))]
    (tmp_path / "x.csv").write_text(",".join(names) + "\n" + ",".join(["1"] * count) + "\n")
    (tmp_path / "x.jsonl").write_text(json.dumps(dict.fromkeys(names, "1")) + "\n")
    assert "x.csv has 300,000 columns, expected at most 10,000; keep those that you need" in refused(tmp_path / "x.csv")
    assert "x.jsonl line 1 has 300,000 columns" in refused(tmp_path / "x.jsonl")


def test_a_parquet_file_with_too_many_columns_or_too_large_a_footer_is_refused(tmp_path, monkeypatch):
    wide = {f"c{number}": ["1"] for number in range(MOST_COLUMNS - 1)} | {"text": ["a"], "label": ["b"]}
    pq.write_table(pa.table(wide), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=r"has 10,001 columns, expected at most 10,000"):
        list(read_batches(tmp_path / "x.parquet", ["text", "label"]))
    monkeypatch.setattr("finetune.sources.parquet_rows.LARGEST_FOOTER", 10_000)
    with pytest.raises(
        UserError, match=r"bytes about its columns and groups of rows, expected at most 10,000; keep the"
    ):
        list(read_batches(tmp_path / "x.parquet", ["text", "label"]))


def test_the_second_of_two_equal_keys_among_very_many_is_found_at_once(tmp_path):
    keys = [f"c{number}" for number in range(200_000)]
    content = ", ".join(f'"{key}": 1' for key in [*keys, keys[-1]])
    (tmp_path / "x.jsonl").write_text(f"{{{content}}}\n")
    started = time.perf_counter()
    with pytest.raises(UserError, match="has the key 'c199999' twice"):
        list(read_batches(tmp_path / "x.jsonl", ["text"]))
    assert time.perf_counter() - started < 5


def test_a_text_of_gigabytes_in_parquet_is_refused_before_it_is_decoded(tmp_path):
    texts = pa.array(["a", "x" * 100_000_000])
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"]}), tmp_path / "x.parquet")
    assert "x.parquet: 'text' has a text of more than 10,000,000 bytes; shorten it" in refused(tmp_path / "x.parquet")


def test_one_long_text_among_many_short_ones_is_refused(tmp_path):
    texts = ["a"] * 1_000 + ["x" * (LONGEST_ROW + 1)]
    pq.write_table(pa.table({"text": texts, "label": ["b"] * 1_001}), tmp_path / "x.parquet")
    assert "'text' has a text of more than 10,000,000 bytes" in refused(tmp_path / "x.parquet")


def test_a_text_that_a_file_holds_once_and_ten_thousand_rows_name_fits_into_memory(tmp_path):
    """A text of 100 kB for 10,000 rows would be 1 GB in one batch; batches of 20 MB have 200 rows."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["x" * 100_000])
    pq.write_table(pa.table({"text": column, "label": ["b"] * 10_000}), tmp_path / "x.parquet")
    assert refused(tmp_path / "x.parquet") == "10000"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_a_batch_of_long_texts_has_fewer_rows_and_none_is_lost(tmp_path, monkeypatch, ending):
    """With at most 1,000 characters, three rows of 400 are a batch, however many rows it could have."""
    monkeypatch.setattr(bounds, "BATCH_CHARACTERS", 1_000)
    monkeypatch.setattr("finetune.sources.parquet_rows.STEP", 1)
    path, texts = tmp_path / f"x{ending}", [f"{number:0400}" for number in range(10)]
    if ending == ".csv":
        path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    elif ending == ".jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        pq.write_table(pa.table({"text": texts}), path)
    found = [batch["text"] for batch in read_batches(path, ["text"])]
    assert [len(batch) for batch in found] == [3, 3, 3, 1]
    assert [text for batch in found for text in batch] == texts


@pytest.mark.parametrize(("labels", "read"), [(None, 2), ({"0": "a", "1": "b"}, 3)])
def test_a_column_that_is_no_label_is_refused_before_all_of_it_is_read(tmp_path, monkeypatch, labels, read):
    """With named labels other values are dropped, so there may be more of them; here 1,500."""
    monkeypatch.setattr("finetune.sources.labels.MOST_VALUES", 1_500)
    data = Data(uri="x", sha256=None, text="text", label="label", labels=labels, group=None)
    taken = []

    def batches():
        for start in range(0, 10_000, 600):
            taken.append(start)
            yield {"text": ["t"] * 600, "label": [str(start + row) for row in range(600)]}

    with pytest.raises(
        UserError, match=r"column 'label' holds more than 1,.00 different values, so it is probably not"
    ):
        write_rows(batches(), data, tmp_path / "x.parquet")
    assert len(taken) == read


def test_a_label_of_many_characters_is_refused_in_its_batch(tmp_path):
    data = Data(uri="x", sha256=None, text="text", label="label", labels=None, group=None)
    batches = iter([{"text": ["t"], "label": ["好" * 201]}, {"text": ["t"], "label": ["b"]}])
    with pytest.raises(UserError, match=r"column 'label' holds a value of 201 characters"):
        write_rows(batches, data, tmp_path / "x.parquet")
    assert next(batches)["label"] == ["b"]


def test_every_column_of_a_wide_table_is_found_at_once():
    """Each of 10,000 names was compared with each: 20 seconds."""
    names = [f"column {number} " for number in range(MOST_COLUMNS)]
    started = time.perf_counter()
    assert check_columns("x.csv", [name.strip() for name in names], names) == names
    assert time.perf_counter() - started < 2
