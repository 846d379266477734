"""Writes a table batch by batch, as CSV, TSV, JSON Lines or Parquet, plain or compressed; all of it or nothing."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finetune.base import files
from finetune.base.errors import UserError, one_line
from finetune.predict.columns import JSON, SEPARATORS, json_line
from finetune.sources.bounds import BATCH
from finetune.sources.tables import table_format

# No timestamp or file name inside, so that the same rows give the same bytes.
PACKERS = {
    ".gz": lambda file: gzip.GzipFile("", "wb", fileobj=file, mtime=0),
    ".bz2": lambda file: bz2.BZ2File(file, "wb"),
    ".xz": lambda file: lzma.LZMAFile(file, "wb"),  # noqa: SIM115 (`table_writer` closes it)
}
AS_THEY_ARE = (pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_nested)
Write = Callable[[pa.Table], None]


def written_format(path: Path) -> str:
    """File ending that names the format to write; raises UserError for an unknown one."""
    ending, pack = table_format(path), path.suffix.lower()
    if ending not in WRITERS or pack not in (ending, *PACKERS):
        raise UserError(
            f"{path} is in no format that can be written; expected one of {', '.join(WRITERS)}, plain or {', '.join(PACKERS)}"
        )
    return ending


@contextlib.contextmanager
def table_writer(path: Path, schema: pa.Schema) -> Iterator[Write]:
    """Function that adds rows of this schema to a file. The file appears under its name only once the block succeeds."""
    writer = WRITERS[written_format(path)]
    with files.replacing(path) as part, contextlib.ExitStack() as stack:
        file = stack.enter_context(part.open("wb"))
        if pack := PACKERS.get(path.suffix.lower()):
            file = stack.enter_context(pack(file))
        yield stack.enter_context(writer(file, schema))


@contextlib.contextmanager
def csv_writer(file: BinaryIO, schema: pa.Schema, separator: str = ",") -> Iterator[Write]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    rows = files.csv_writer(text, separator)
    rows.writerow(schema.names)
    yield lambda table: rows.writerows(zip(*(as_text(table, name) for name in schema.names), strict=True))
    text.detach()  # flushes, and leaves closing the file to the caller


def tsv_writer(file: BinaryIO, schema: pa.Schema):
    return csv_writer(file, schema, SEPARATORS[".tsv"])


@contextlib.contextmanager
def json_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    def write(table: pa.Table):
        for row in zip(*(as_json(table, name) for name in schema.names), strict=True):
            line = json_line(dict(zip(schema.names, row, strict=True)))
            # An unpaired surrogate is written as it was read, \ud83d.
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
        file.flush()

    yield write


@contextlib.contextmanager
def parquet_writer(file: BinaryIO, schema: pa.Schema) -> Iterator[Write]:
    waiting: list[pa.Table] = []

    def write(table: pa.Table, least: int = BATCH):
        # Many small row groups make a file large and slow to read.
        waiting.append(table)
        if sum(part.num_rows for part in waiting) >= least:
            rows.write_table(pa.concat_tables(waiting))
            waiting.clear()

    with pq.ParquetWriter(file, schema) as rows:
        yield write
        write(schema.empty_table(), least=1)


def plain_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A column in its plain storage type, without Arrow's dictionary or JSON type."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column.cast(JSON.storage_type) if column.type == JSON else column


def as_text(table: pa.Table, name: str) -> list[str | None]:
    """Values of a column as text for a CSV file: lists and structs as JSON, NaN as null."""
    column = plain_column(table, name)
    if pa.types.is_nested(column.type):
        return [None if value is None else json_line(value) for value in column.to_pylist()]
    try:
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(
            f"the column {name!r} cannot be written as text ({one_line(error)}); write Parquet, which keeps it unchanged"
        ) from None


def as_json(table: pa.Table, name: str) -> list:
    """Values of a column as JSON values: dates and the like as text."""
    column = plain_column(table, name)
    if table.schema.field(name).type == JSON:
        return [None if value is None else json.loads(value) for value in column.to_pylist()]
    return column.to_pylist() if any(test(column.type) for test in AS_THEY_ARE) else as_text(table, name)


WRITERS = {
    ".csv": csv_writer,
    ".tsv": tsv_writer,
    ".jsonl": json_writer,
    ".ndjson": json_writer,
    ".json": json_writer,
    ".parquet": parquet_writer,
}
