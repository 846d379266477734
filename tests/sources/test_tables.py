"""Tables: every format and compression gives the same rows, as they are written; damage is reported in one line."""

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from finetune.base.errors import UserError
from finetune.sources import bounds
from finetune.sources.tables import read_batches, split_files

COLUMNS = ["text", "label"]
ROWS = [
    ("a plain text", "0"),
    ("007", "1.50"),
    ("null", "NA"),
    ("None", "nan"),
    ('two lines,\nand a "quote"', "1e5"),
    ("这部电影很好，值得一看。", "好评"),
    ("tab\tinside", "-1"),
    (" spaces kept ", "true"),
]


def delimited(separator: str) -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=separator, lineterminator="\n").writerows(
        [("row", *COLUMNS), *(("1", *row) for row in ROWS)]
    )
    return file.getvalue().encode()


def json_lines() -> bytes:
    return "".join(json.dumps({"row": 1, "text": text, "label": label}) + "\n" for text, label in ROWS).encode()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(dict(zip(COLUMNS, zip(*ROWS, strict=True), strict=True))), file)
    return file.getvalue()


def zipped(content: bytes, *names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            # Dated 1980: the bytes are part of the name of a test, which two processes must give alike.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


CONTENT = {
    ".csv": delimited(","),
    ".tsv": delimited("\t"),
    ".tab": delimited("\t"),
    ".jsonl": json_lines(),
    ".ndjson": json_lines(),
    ".json": json_lines(),
    ".parquet": parquet(),
}
PACK = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def rows(path, columns=COLUMNS) -> list[tuple]:
    """All rows of a table, after a check that each batch has at most BATCH rows."""
    batches = list(read_batches(path, columns))
    assert all(0 < len(batch[columns[0]]) <= bounds.BATCH for batch in batches)
    return [row for batch in batches for row in zip(*(batch[column] for column in columns), strict=True)]


def written(path, content: bytes | str):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refusal(path) -> str:
    """Message of one line with which reading a table fails."""
    with pytest.raises(UserError) as caught:
        rows(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path.parent) + "/", "")


@pytest.mark.parametrize("pack", [*PACK, ".zip"])
@pytest.mark.parametrize("ending", CONTENT)
def test_every_format_and_compression_gives_the_rows_as_written(tmp_path, monkeypatch, ending, pack):
    """With three rows per batch, the eight rows need three batches."""
    monkeypatch.setattr(bounds, "BATCH", 3)
    plain = CONTENT[ending]
    packed = zipped(plain, f"inner{ending}", "__MACOSX/._inner") if pack == ".zip" else PACK[pack](plain)
    assert rows(written(tmp_path / f"Reviews [1]::a{ending.upper()}{pack}", packed)) == ROWS


def test_the_name_of_a_zip_archive_may_omit_the_format(tmp_path):
    assert rows(written(tmp_path / "reviews.zip", zipped(CONTENT[".tsv"], "folder/in #1.tsv"))) == ROWS


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("bom.csv", "\ufefftext,label\na,b\n", [("a", "b")]),
        ("bom.jsonl", '\ufeff{"text": "a", "label": "b"}\n', [("a", "b")]),
        ("crlf.csv", 'text,label\r\n"a\r\nb",c\r\n', [("a\r\nb", "c")]),
        ("old_mac.csv", "text,label\ra,b\rc,d", [("a", "b"), ("c", "d")]),
        ("short_rows.csv", "text,label\na\n\nb,\n", [("a", None), ("b", "")]),
        ("empty_ends.csv", "text,label\na,b,,\n", [("a", "b")]),
        ("order.csv", "label,more,text\n1,x,a\n", [("a", "1")]),
        ("header_only.csv", "text,label\n", []),
        ("nothing.jsonl", "\n", []),
        ("numbers.jsonl", '{"text": 1.50, "label": 12345678901234567890}\n', [("1.50", "12345678901234567890")]),
        (
            "truth.jsonl",
            '{"text": null, "label": true}\n\n{"label": false, "text": ""}',
            [(None, "true"), ("", "false")],
        ),
        ("separator.jsonl", '{"text": "a\u2028b", "label": 0}\n', [("a\u2028b", "0")]),
        ("digits.jsonl", f'{{"text": "a", "label": {"9" * 5000}}}\n', [("a", "9" * 5000)]),
    ],
)
def test_a_text_file_is_read_as_it_is_written(tmp_path, name, content, expected):
    assert rows(written(tmp_path / name, content)) == expected


def test_a_long_text_is_read_whole(tmp_path):
    """Longer than 131,072 characters, the default limit of Python's csv module."""
    assert rows(written(tmp_path / "x.csv", f"text,label\n{'x' * 200_000},a\n")) == [("x" * 200_000, "a")]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array([1, None]), ["1", None]),
        (pa.array([1.5, 2.25]), ["1.5", "2.25"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array(["x", "y"]).dictionary_encode(), ["x", "y"]),
        (pa.array([3, 4]).dictionary_encode(), ["3", "4"]),
        (pa.array(["x", "y"], pa.large_string()), ["x", "y"]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array | pa.ChunkedArray) else "",
)
def test_parquet_columns_of_other_types_are_read_as_text(tmp_path, labels, expected):
    pq.write_table(pa.table({"text": ["a", "b"], "label": labels}), tmp_path / "x.parquet")
    assert rows(tmp_path / "x.parquet") == list(zip("ab", expected, strict=True))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.csv", "text,lable\na,b\n", "x.csv has no column 'label'; its columns are text, lable"),
        ("x.csv", "text,text,label\na,b,c\n", "x.csv has 2 columns 'text'; give each a different name"),
        ("x.csv", "", "x.csv is empty; expected a first line with the names"),
        ("x.csv", "text,label\ngood, but long,1\n", "x.csv line 2 has 3 fields, expected 2; put a text"),
        ("x.csv", "text,label\na,b\nc,d\ne,f,g\n", "x.csv line 4 has 3 fields, expected 2"),
        ("x.csv", 'text,label\n"a,b\nc,d\n', "x.csv line 2 opens a double quote that is never closed; put a text that"),
        (
            "x.csv",
            'text,label\n"Up" is good,b\n',
            "x.csv line 2 cannot be read (',' expected after '\"'); put a text that",
        ),
        (
            "x.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b"}\n',
            "x.jsonl line 2 has no column 'label'; its columns are text",
        ),
        ("x.jsonl", '\n{"text": \n', "x.jsonl line 2 is not JSON (Expecting value); expected one object per line"),
        ("x.json", '[{"text": "a"}]', 'x.json line 1 must be an object such as {"text": …}, found [{"text": "a"}]'),
        ("x.jsonl", '{"text": ["a"], "label": 1}', "x.jsonl line 1: 'text' must be text, found a list"),
        (
            "deep.jsonl",
            f'{{"text": "a", "label": 1}}\n{{"text": {"[" * 100_000}{"]" * 100_000}}}\n',
            "deep.jsonl line 2 nests lists or objects too deeply to read; keep it to a few hundred levels",
        ),
        (
            "x.jsonl",
            '{"text": "a", "label": 1, "text": "b"}',
            "x.jsonl line 1 has the key 'text' twice; keep one of them",
        ),
        (
            "x.jsonl",
            '{"text": "a", "label": {"b": 1, "b": 2}}',
            "x.jsonl line 1 has the key 'b' twice; keep one of them",
        ),
        ("x.jsonl", r'{"text": "\ud83d", "label": 1}', "x.jsonl line 1: 'text' contains an unpaired surrogate"),
        ("x.parquet", "text,label\n", "x.parquet is not a readable Parquet file (Parquet magic bytes not found"),
        ("x.parquet", "", "x.parquet is not a readable Parquet file"),
        ("x.csv.gz", "text,label\n", "x.csv.gz is damaged (Not a gzipped file (b'te')); get it again"),
        ("x.csv.bz2", "text,label\n", "x.csv.bz2 is damaged (Invalid data stream); get it again"),
        ("x.csv.xz", "text,label\n", "x.csv.xz is damaged or cut short (Input format not supported by decoder)"),
        ("x.zip", "text,label\n", "x.zip is damaged or cut short (File is not a zip file); get it again"),
        ("x.zip", zipped(b"", "a.csv", "b.csv"), "x.zip holds 2 files (a.csv, b.csv); name one by adding #a.csv"),
        ("x.zip", zipped(b""), "x.zip holds no file; expected one table"),
        ("x.xlsx", "", "x.xlsx has an unknown format; expected one of .csv, .tsv"),
        ("reviews", "", "reviews has an unknown format"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_in_one_line(tmp_path, name, content, message):
    assert refusal(written(tmp_path / name, content)).startswith(message)


@pytest.mark.parametrize("column", [[["a"]], [{"word": "a"}], [b"caf\xe9"]], ids=["list", "struct", "bytes"])
def test_a_parquet_column_without_text_is_refused(tmp_path, column):
    pq.write_table(pa.table({"text": column, "label": ["a"]}), tmp_path / "x.parquet")
    assert refusal(tmp_path / "x.parquet").startswith("x.parquet: 'text' must hold text (")


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize(("ending", "row"), [(".csv", "a,b\n"), (".jsonl", '{"text": "a", "label": "b"}\n')])
def test_a_byte_that_is_not_utf_8_is_located_far_after_the_first_batch(tmp_path, ending, row, pack):
    """30,000 good lines (the header of the CSV included), then the é of Latin-1 in the next."""
    lines = ("text,label\n" + row * 29_999 if ending == ".csv" else row * 30_000) + row.replace("a", "é", 1)
    path = written(tmp_path / f"x{ending}{pack}", PACK[pack](lines.encode("latin-1")))
    assert refusal(path) == f"{path.name} is not UTF-8 (line 30001); save it as UTF-8"


@pytest.mark.parametrize("pack", PACK)
@pytest.mark.parametrize(
    ("encoding", "found"),
    [
        ("utf-16", "is UTF-16; save it as UTF-8 (in Excel"),
        ("utf-32", "is UTF-32; save it as UTF-8 (in Excel"),
        ("utf-16-le", "has NUL bytes, so it is probably UTF-16LE; save it as UTF-8 (in Excel"),
        ("utf-16-be", "has NUL bytes, so it is probably UTF-16BE; save it as UTF-8 (in Excel"),
    ],
)
@pytest.mark.parametrize(
    ("ending", "text"),
    [
        (".csv", "text,label\r\na joy,good\r\n"),
        (".csv", "\r\ntext,label\r\na joy,good\r\n"),
        (".csv", "text,label\n欢乐的影片,正面\n" * 3),
        (".tsv", "文本\t标签\n欢乐的影片\t正面\n"),
        (".jsonl", '{"text": "a joy", "label": "good"}\n'),
    ],
)
def test_a_file_in_utf_16_is_named_with_the_way_to_convert_it(tmp_path, pack, encoding, found, ending, text):
    path = written(tmp_path / f"x{ending}{pack}", PACK[pack](text.encode(encoding)))
    message = refusal(path)
    assert message.startswith(f"{path.name} {found}")
    assert message.endswith(f"`iconv -f {found.split(';')[0].split()[-1]} -t UTF-8`")


def test_a_nul_in_a_text_in_utf_8_is_kept(tmp_path):
    path = written(tmp_path / "x.csv", "text,label\na\0b\0,good\n")
    assert list(read_batches(path, ["text"])) == [{"text": ["a\0b\0"]}]


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.bz2", ".csv.xz", ".jsonl.gz", ".zip", ".parquet", ".parquet.gz"])
def test_a_file_that_was_cut_short_is_reported(tmp_path, ending):
    """Random numbers compress badly, so that enough bytes are left to cut off."""
    chance = random.Random(0)
    texts = [str(chance.random()) for _ in range(3000)]
    file = io.BytesIO()
    pq.write_table(pa.table({"text": texts, "label": texts}), file)
    plain = {
        ".csv": "text,label\n" + "".join(f"{text},b\n" for text in texts),
        ".jsonl": "".join(f'{{"text": "{text}", "label": "b"}}\n' for text in texts),
    }
    stem, _, pack = ending.rpartition(".")
    content = file.getvalue() if "parquet" in ending else plain[stem or ".csv"].encode()
    packed = {".zip": lambda value: zipped(value, "x.csv"), ".parquet": bytes, **PACK}[f".{pack}"](content)
    message = refusal(written(tmp_path / f"x{ending}", packed[:-500]))
    assert message.startswith((f"x{ending} is damaged or cut short", f"x{ending} is not a readable Parquet file"))
    assert message.endswith("; get it again")


def test_a_zip_archive_with_a_password_is_reported(tmp_path):
    """Bit 0 of the flags says that a member is encrypted: at 6 of its header, at 8 of its directory entry."""
    archive = bytearray(zipped(b"text,label\n", "x.csv"))
    archive[6] |= 1
    archive[archive.find(b"PK\x01\x02") + 8] |= 1
    assert refusal(written(tmp_path / "x.zip", bytes(archive))).startswith(
        "x.zip cannot be unpacked (File 'x.csv' is encrypted"
    )


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["train.csv", "test.csv"], {"train": ["train.csv"], "test": ["test.csv"]}),
        (["train.jsonl.gz", "dev.jsonl", "README.md"], {"train": ["train.jsonl.gz"], "validation": ["dev.jsonl"]}),
        (["train.tsv", "valid.tsv"], {"train": ["train.tsv"], "validation": ["valid.tsv"]}),
        (
            ["Train.CSV", "Test.csv", "EVAL.csv"],
            {"train": ["Train.CSV"], "test": ["Test.csv"], "validation": ["EVAL.csv"]},
        ),
        (["training.csv", "testing.csv"], {"train": ["training.csv"], "test": ["testing.csv"]}),
        (["train.csv", ".test.csv.swp", "dataset_info.json"], {"train": ["train.csv"]}),
        (
            ["train-00001-of-00002.parquet", "train-00000-of-00002.parquet", "validation-00000-of-00001.parquet"],
            {
                "train": ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
                "validation": ["validation-00000-of-00001.parquet"],
            },
        ),
        (["reviews.csv", "notes.txt"], {"all": ["reviews.csv"]}),
    ],
)
def test_a_folder_holds_a_table_or_the_files_of_each_split(tmp_path, names, splits):
    for name in names:
        (tmp_path / name).touch()
    assert {split: [file.name for file in files] for split, files in split_files(tmp_path).items()} == splits


@pytest.mark.parametrize(
    ("names", "listing"),
    [
        (["test.csv", "dev.csv"], "dev.csv, test.csv"),
        (["a.csv", "b.csv"], "a.csv, b.csv"),
        ([], "no table"),
        (["x.pdf"], "no table"),
    ],
)
def test_a_folder_without_rows_to_train_on_is_refused(tmp_path, names, listing):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"must hold one table, or files called train .*; it holds {listing}$"):
        split_files(tmp_path)


@pytest.mark.parametrize(
    "ignored", ["other.csv", "tests.csv", "test.xlsx", "held-out.parquet", "test/part-0.csv", "train_old/x.jsonl.gz"]
)
def test_a_table_that_would_be_ignored_is_refused(tmp_path, ignored):
    for name in ("train.csv", ignored):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"{tmp_path} holds {ignored}, which is not called train, validation or test"):
        split_files(tmp_path)


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        (
            "text;label\na;b\n",
            ["text"],
            "no column 'text'; its columns are text;label; they seem to be separated by semicolons",
        ),
        ("text|label\na|b\n", ["text"], "they seem to be separated by bars: save the table with commas as .csv"),
        ('label, text\npos, "it is ""fine"""\n', ["text"], "line 2 has a blank between a separator and a double quote"),
        (
            'label, text\npos,fine\nneg, "bad, very bad"\n',
            ["text"],
            "line 3 has a blank between a separator and a double quote",
        ),
        ("text,label,\na,b,c\n", ["text"], "line 2 has 3 fields, expected 2"),
        ("text,label, label\u200b\na,b,c\n", ["label"], "has 2 columns 'label'; give each a different name"),
    ],
)
def test_a_table_that_is_nearly_csv_is_refused_with_the_reason(tmp_path, content, columns, message):
    with pytest.raises(UserError) as caught:
        list(read_batches(written(tmp_path / "x.csv", content), columns))
    assert message in str(caught.value)


def test_a_quoted_field_may_begin_with_a_blank_and_a_quote(tmp_path):
    path = written(tmp_path / "x.csv", 'label,text\npos," ""Up"" is good"\n')
    assert list(read_batches(path, ["text"])) == [{"text": [' "Up" is good']}]


def test_empty_names_at_the_end_of_a_header_are_no_columns(tmp_path):
    path = written(tmp_path / "x.csv", "\ufeff text ,x,,\nA joy,1,,\nA waste,2\n")
    assert list(read_batches(path, ["text", "x"])) == [{"text": ["A joy", "A waste"], "x": ["1", "2"]}]


def test_nan_is_null_in_every_format(tmp_path):
    pq.write_table(pa.table({"text": ["a", "b", "c"], "label": [1.0, float("nan"), None]}), tmp_path / "x.parquet")
    written(
        tmp_path / "x.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": NaN}\n{"text ": "c", "label": null}\n'
    )
    for name in ("x.parquet", "x.jsonl"):
        assert list(read_batches(tmp_path / name, ["text", "label"])) == [
            {"text": ["a", "b", "c"], "label": ["1", None, None]}
        ]


def test_class_names_in_a_parquet_file_replace_the_ids_and_minus_one_is_null(tmp_path):
    features = Features({"text": Value("string"), "label": ClassLabel(names=["neg", "pos"])})
    rows = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    rows.to_parquet(tmp_path / "x.parquet")
    assert list(read_batches(tmp_path / "x.parquet", ["label"])) == [{"label": ["pos", "neg", None]}]


# The peak of this process alone; getrusage would start from that of the process which runs the tests.
PEAK = """
import sys
from pathlib import Path
from finetune.sources.tables import read_batches

rows = sum(len(batch["text"]) for batch in read_batches(Path(sys.argv[1]), ["text", "label"]))
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(rows, peak, "torch" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak memory that Linux keeps")
@pytest.mark.parametrize(
    ("ending", "header", "row"),
    [
        (".csv", "text,label\n", f"{'great film ' * 18},good\n"),
        (".jsonl.gz", "", f'{{"text": "{"great film " * 18}", "label": "good"}}\n'),
    ],
)
def test_memory_does_not_grow_with_the_table(tmp_path, ending, header, row):
    """300,000 rows of 200 characters are 60 MB, and more as Python strings; a batch of 10,000 is 3 MB."""
    peaks = []
    for count in (20_000, 300_000):
        content = (header + row * count).encode()
        path = written(tmp_path / f"{count}{ending}", gzip.compress(content, 1) if ending.endswith(".gz") else content)
        command = [sys.executable, "-c", PEAK, path]
        read, peak, torch = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert (int(read), torch) == (count, "False")
        peaks.append(int(peak) / 1024)
    assert peaks[1] - peaks[0] < 15  # MB


def test_a_split_that_is_a_pipe_or_a_broken_link_is_not_passed_over(tmp_path):
    """Its rows would be missing, and a test split would be cut from train."""
    (tmp_path / "train.csv").write_text("text,label\n")
    (tmp_path / "test.csv").symlink_to(tmp_path / "none.csv")
    with pytest.raises(UserError, match="test.csv is a broken link, expected a file; remove it or put the table there"):
        split_files(tmp_path)
    (tmp_path / "test.csv").unlink()
    os.mkfifo(tmp_path / "test.csv")
    with pytest.raises(UserError, match="test.csv is a pipe, expected a file; remove it or put the table there"):
        split_files(tmp_path)
