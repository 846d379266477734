"""Columns of Parquet files and of Hub data sets, as text."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from finetune.base.errors import UserError, one_line
from finetune.sources.compressed import opened


@contextlib.contextmanager
def parquet_file(path: Path) -> Iterator[pq.ParquetFile]:
    """An open Parquet file, for `with`. Raises UserError if it is not Parquet or is damaged."""
    try:
        with opened(path, "rb") as file:
            yield pq.ParquetFile(file)
    except pa.ArrowInvalid as error:
        raise UserError(f"{path} is not a readable Parquet file ({one_line(error)}); get it again") from None


def class_names(schema: pa.Schema, column: str) -> list[str] | None:
    """Names of the class ids in a column that `datasets` wrote as a ClassLabel; None for any other column.

    https://huggingface.co/docs/datasets/about_dataset_features
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return features[column]["names"] if features[column]["_type"] == "ClassLabel" else None
    except (KeyError, TypeError, ValueError):
        return None


def column_texts(column: pa.Array, names: list[str] | None, where: str) -> list[str | None]:
    """Values of a column as text; NaN is None, as in tables that pandas wrote. Raises UserError if a value is no text.

    `names` are those of class ids; -1, the mark of `datasets` for a row without a label, is None.
    """
    try:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if names is not None:
            return [class_name(value, names, where) for value in column.to_pylist()]
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)
        return column.cast(pa.string()).to_pylist()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise UserError(f"{where} must hold text ({one_line(error)})") from None


def class_name(value: int | None, names: list[str], where: str) -> str | None:
    """Name of a class id, None for None and -1. Raises UserError for an id without a name."""
    if value is None or value == -1:
        return None
    if not isinstance(value, int) or not 0 <= value < len(names):
        raise UserError(f"{where} has the class id {value!r}, but its names are {', '.join(names)}")
    return names[value]
