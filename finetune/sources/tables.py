"""Tables as people have them (CSV, TSV, JSON Lines, Parquet; plain, gz, bz2, xz or zip), read in batches.

Every value comes as the text that stands in the file: a text `007` keeps its zeros, the word `null`
is a word. A batch is a dictionary of columns, each a list of `str` or None.
"""

import contextlib
import itertools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.base.errors import UserError, one_line
from finetune.sources.compressed import COMPRESSIONS, opened, readable, zip_member
from finetune.sources.csv_rows import csv_rows

BATCH = 10_000  # rows: large enough that the overhead vanishes, small enough to stay far below 100 MB
ROOM = (
    50  # levels of nested JSON kept free, so that a row which can be read here can be written from deeper in the stack
)
SPLIT_OF_FILE = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
SPLIT_FILE = re.compile(rf"^({'|'.join(SPLIT_OF_FILE)})([-_.].*)?$")


SEPARATOR_HINTS = {
    mark: f"; they seem to be separated by {name}: save the table with commas as .csv, or with tabs as .tsv"
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (",", "commas"))
}


class MissingColumn(UserError):
    """A table without a column that is wanted; the caller knows where the column is named."""


def split_files(path: Path) -> dict[str, list[Path]]:
    """Files of each split: {"all": [file]}, or those called train, validation and test in a folder.

    A folder may hold several files a split (`train-00000-of-00002.parquet`), which are read in the order of their names.
    """
    if path.is_file():
        return {"all": [path]}
    files = sorted(file for file in path.iterdir() if file.is_file() and table_format(file) in READERS)
    splits: dict[str, list[Path]] = {}
    for file in files:
        if match := SPLIT_FILE.match(file.name):
            splits.setdefault(SPLIT_OF_FILE[match[1]], []).append(file)
    if not splits and len(files) == 1:
        return {"all": files}
    if "train" not in splits:
        found = ", ".join(file.name for file in files) or "no table"
        raise UserError(
            f"{path} must hold one table, or files called train and, if you like, validation and test; it holds {found}"
        )
    return splits


def table_format(path: Path) -> str:
    """Ending that tells the format, compression left out: `reviews.csv.gz` -> ".csv"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read_batches(path: Path, columns: list[str]) -> Iterator[dict[str, list[str | None]]]:
    """The named columns of a table, batch by batch; memory does not grow with the table.

    Raises UserError for a format that is not known, a column that is missing (and lists those there
    are), text that is not UTF-8, or a file that is damaged.
    """
    reader = READERS[known_format(path)]
    with readable(path):
        yield from reader(path, columns)


def known_format(path: Path) -> str:
    """Ending in READERS of a table or of the only file in its archive; raises UserError for any other."""
    ending = table_format(path)
    if path.suffix.lower() == ".zip":
        ending = Path(zip_member(path)).suffix.lower()
    if ending not in READERS:
        raise UserError(
            f"{path} has no format that is known; expected one of {', '.join(READERS)}, plain or {', '.join(COMPRESSIONS)}"
        )
    return ending


def check_columns(where: str, wanted: list[str], found: list[str]):
    """Raises MissingColumn when a wanted column is not among those found (and lists these), UserError when it is there twice."""
    for column in wanted:
        if column not in found:
            hint = SEPARATOR_HINTS.get(
                next((mark for mark in SEPARATOR_HINTS if len(found) == 1 and mark in found[0]), ""), ""
            )
            raise MissingColumn(f"{where} has no column {column!r}; its columns are {', '.join(found)}{hint}")
        if found.count(column) > 1:
            raise UserError(f"{where} has {found.count(column)} columns {column!r}; give each a name of its own")


def csv_batches(path: Path, columns: list[str], separator: str = ","):
    rows = csv_rows(path, separator)
    header = next(rows)
    check_columns(path.name, columns, header)
    places = [header.index(column) for column in columns]
    while batch := list(itertools.islice(rows, BATCH)):
        yield transposed(batch, columns, places)


def transposed(rows: list[list[str]], columns: list[str], places: list[int]) -> dict[str, list[str | None]]:
    """Rows as columns; what a short row leaves out is None."""
    return {
        column: [row[place] if place < len(row) else None for row in rows]
        for column, place in zip(columns, places, strict=True)
    }


def tsv_batches(path: Path, columns: list[str]):
    return csv_batches(path, columns, separator="\t")


def json_rows(path: Path, **parsers) -> Iterator[tuple[str, dict]]:
    """The object in each line that is not blank, after the words for where it stands; `parsers` go to json.loads."""
    with opened(path, "rt", encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, **parsers)
                if line.count("[") + line.count("{") > ROOM:
                    json.loads(f"{'[' * ROOM}{line}{']' * ROOM}", **parsers)
            except json.JSONDecodeError as error:
                raise UserError(f"{path} line {number} is not JSON ({error.msg}); expected one object a line") from None
            except ValueError:
                # Python guards itself against the time that this takes.
                raise UserError(
                    f"{path} line {number} holds an integer of more than {sys.get_int_max_str_digits()} digits; "
                    "put it in double quotes"
                ) from None
            except RecursionError:
                raise UserError(
                    f"{path} line {number} nests lists or objects too deep to read; keep it to a few hundred levels"
                ) from None
            if not isinstance(row, dict):
                raise UserError(
                    f'{path} line {number} must be an object such as {{"text": …}}, found {line.strip()[:40]}'
                )
            yield f"{path.name} line {number}", row


def jsonl_batches(path: Path, columns: list[str]):
    # Numbers stay as they are written.
    rows = json_rows(path, parse_float=str, parse_int=str)
    while batch := list(itertools.islice(rows, BATCH)):
        for where, row in batch:
            check_columns(where, columns, list(row))
        yield {column: [json_text(row[column], column, where) for where, row in batch] for column in columns}


def json_text(value, column: str, where: str) -> str | None:
    """One JSON value as text; raises UserError for a list, an object or half a character."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return None
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} must be text, found a {type(value).__name__}")
    check_whole(value, f"{where}: {column!r}")
    return value


def check_whole(text: str, where: str):
    """Raises UserError for half a character: JSON can write one half of an emoji, \\ud83d, which is no Unicode text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{where} holds half a character ({one_line(error)}); mend the text") from None


@contextlib.contextmanager
def parquet_file(path: Path) -> Iterator[pq.ParquetFile]:
    """An open Parquet file, for `with`; raises UserError for what is none, or is damaged."""
    try:
        with opened(path, "rb") as file:
            yield pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is no readable Parquet file ({one_line(error)}); get it again") from None


def parquet_texts(batch: pa.RecordBatch, column: str, where: str) -> list[str | None]:
    """Values of a column of any type that can be told as text; raises UserError for one that cannot."""
    try:
        return batch.column(column).cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{where}: {column!r} must hold text ({one_line(error)})") from None


def parquet_batches(path: Path, columns: list[str]):
    with parquet_file(path) as table:
        check_columns(path.name, columns, table.schema_arrow.names)
        for batch in table.iter_batches(batch_size=BATCH, columns=columns):
            yield {column: parquet_texts(batch, column, path.name) for column in columns}


READERS = {
    ".csv": csv_batches,
    ".tsv": tsv_batches,
    ".jsonl": jsonl_batches,
    ".ndjson": jsonl_batches,
    ".json": jsonl_batches,
    ".parquet": parquet_batches,
}
