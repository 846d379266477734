"""Columns of Parquet files and of Hub data sets, as text."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finetune.base.errors import UserError, one_line
from finetune.sources import bounds
from finetune.sources.bounds import LONGEST_ROW, batches, check_column_count
from finetune.sources.compressed import opened

# Bytes of a file's last part, which names every column of every group of rows. Arrow takes 16 times as much memory for it.
LARGEST_FOOTER = 16_000_000
STEP = 100  # rows decoded at once; a text that the file holds once may be the text of each of them


@contextlib.contextmanager
def parquet_file(path: Path) -> Iterator[pq.ParquetFile]:
    """An open Parquet file, for `with`. Raises UserError if it is not Parquet, is damaged, or has too many columns."""
    try:
        with opened(path, "rb") as file:
            check_footer(path, file)
            table = pq.ParquetFile(file)
            check_column_count(path, len(table.schema_arrow.names))
            yield table
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a readable Parquet file ({one_line(error)}); get it again") from None


def check_footer(path: Path, file: BinaryIO):
    """Raises UserError for a footer that would fill the memory; its length is in the last eight bytes but four."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    length, mark = file.read(4), file.read(4)
    file.seek(0)
    if mark == b"PAR1" and int.from_bytes(length, "little") > LARGEST_FOOTER:
        raise UserError(
            f"{path} has {int.from_bytes(length, 'little'):,} bytes about its columns and groups of rows, expected at most "
            f"{LARGEST_FOOTER:,}; keep the columns that you need, and write more rows in a group"
        )


def parquet_rows(table: pq.ParquetFile, path: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Rows of the columns in tables of BATCH rows, or of fewer with about BATCH_CHARACTERS bytes.

    Raises UserError for a column of texts that are too long on average. Another that is too long is decoded first.
    """
    for number in range(table.num_row_groups):
        group = table.metadata.row_group(number)
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema.partition(".")[0]
            if name in columns and column.total_uncompressed_size > LONGEST_ROW * max(1, column.num_values):
                raise UserError(long_text(f"{path.name}: {name!r}"))
    size = min(STEP, bounds.BATCH)
    steps = table.iter_batches(batch_size=size, columns=columns)
    for batch in batches(steps, lambda step: sum(map(decoded_bytes, step.columns)), size):
        yield pa.Table.from_batches(batch)


def decoded_bytes(column: pa.Array) -> int:
    """Bytes of a column once each row has its own text."""
    return (column.dictionary_decode() if pa.types.is_dictionary(column.type) else column).nbytes


def long_text(where: str) -> str:
    """The message about a text that is too long."""
    return f"{where} has a text of more than {LONGEST_ROW:,} bytes; shorten it"


def class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """Names of the class ids in a column that `datasets` wrote as a ClassLabel, or as a list of them; None for any other column.

    https://huggingface.co/docs/datasets/about_dataset_features
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        feature = features[column]
        if feature.get("_type") in ("List", "LargeList", "Sequence"):
            feature = feature["feature"]
        return feature["names"] if feature["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None


def column_texts(column: pa.Array, names: list[str] | None, where: str) -> list[str | None]:
    """Values of a column as text; NaN is None, as in tables that pandas wrote. Raises UserError if a value is no text.

    `names` are those of class ids; -1, the mark of `datasets` for a row without a label, is None.
    """
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string(column.type) and (pc.max(pc.binary_length(column)).as_py() or 0) > LONGEST_ROW:
            raise UserError(long_text(where))
        if names is not None:
            return [class_name(value, names, where) for value in column.to_pylist()]
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{where} must hold text ({one_line(error)})") from None


def list_texts(column: pa.Array, names: list[str] | None, where: str) -> list[list[str | None] | str | None]:
    """Cells of a column of lists as lists of texts; cells of any other column as text, as `column_texts` gives them."""
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return column_texts(column, names, where)
    texts = column_texts(column.flatten(), names, where)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    cells, start = [], 0
    for length, known in zip(lengths, column.is_valid().to_pylist(), strict=True):
        cells.append(texts[start : start + length] if known else None)
        start += length
    return cells


def class_name(value: int | None, names: list[str], where: str) -> str | None:
    """Name of a class id, None for None and -1. Raises UserError for an id without a name."""
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise UserError(f"{where} has the class id {value!r}, but its names are {', '.join(names)}")
    return names[value]
