"""Whole tables on the way from one file into another: every column as it is, and the texts of one of them.

CSV and TSV hold text. A column of JSON Lines is of numbers, truth values or text where all its values are, else of
JSON; a key that a row lacks is null. Parquet has types of its own. Memory does not grow with the table.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.tables import (
    BATCH,
    check_columns,
    csv_rows,
    json_rows,
    json_text,
    known_format,
    opened,
    read_batches,
    readable,
)

JSON = pa.json_(pa.string())
SEPARATORS = {".csv": ",", ".tsv": "\t"}
INT64 = range(-(2**63), 2**63)
Batches = Iterator[tuple[list[str | None], pa.Table]]  # texts, and the rows they stand in


class Survey(NamedTuple):
    """What a first reading of a table found: its number of rows, and its columns with their types."""

    rows: int
    schema: pa.Schema


def survey(path: Path, text: str) -> Survey:
    """Rows and columns of a table, read to its end, so that what is wrong with it is told before long work starts.

    Raises UserError as `finetune.tables.read_batches` does, and for two columns of one name.
    """
    ending = known_format(path)
    with readable(path):
        if ending in SEPARATORS:
            return csv_survey(path, text, SEPARATORS[ending])
        return parquet_survey(path, text) if ending == ".parquet" else json_survey(path, text)


def csv_survey(path: Path, text: str, separator: str) -> Survey:
    header = next(csv_rows(path, separator))
    check_columns(path.name, [text, *header], header)
    rows = sum(len(batch[text]) for batch in read_batches(path, header))
    return Survey(rows, pa.schema([(name, pa.string()) for name in header]))


def parquet_survey(path: Path, text: str) -> Survey:
    with opened(path, "rb") as file:
        schema = pq.ParquetFile(file).schema_arrow
    check_columns(path.name, [text, *schema.names], schema.names)
    return Survey(sum(len(batch[text]) for batch in read_batches(path, [text])), schema)


def json_survey(path: Path, text: str) -> Survey:
    rows, types = 0, {text: pa.null()}
    for where, row in json_rows(path):
        check_columns(where, [text], list(row))
        json_value_text(row[text], text, where)
        rows += 1
        if rows == 1:  # the columns come in the order of the first row
            types = dict.fromkeys(row, pa.null())
        for key, value in row.items():
            types[key] = common_type(types.get(key, pa.null()), json_type(value))
    return Survey(rows, pa.schema(list(types.items())))


def json_type(value) -> pa.DataType:
    """Type of a column that holds this value of JSON."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        return pa.int64() if value in INT64 else JSON
    if isinstance(value, str):
        # JSON can write half a character, which is no text; as JSON it stays what it is.
        return JSON if any("\ud800" <= letter <= "\udfff" for letter in value) else pa.string()
    return {type(None): pa.null(), float: pa.float64()}.get(type(value), JSON)


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Type that takes the values of both: numbers together are float64, what does not go together is JSON."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else JSON


def json_value_text(value, column: str, where: str) -> str | None:
    """A value of JSON as the text to classify, a number too; raises UserError for a list or an object."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return json_text(json.dumps(value) if number else value, column, where)


def read_columns(path: Path, text: str, schema: pa.Schema, size: int) -> Batches:
    """Texts of one column and all the columns, at most `size` rows at a time, of a table that was surveyed."""
    ending = known_format(path)
    with readable(path):
        if ending in SEPARATORS:
            batches = ((batch[text], pa.table(batch, schema)) for batch in read_batches(path, schema.names))
        elif ending == ".parquet":
            batches = parquet_columns(path, text)
        else:
            batches = json_columns(path, text, schema)
        for texts, rows in batches:
            for start in range(0, len(texts), size):
                yield texts[start : start + size], rows.slice(start, size)


def parquet_columns(path: Path, text: str) -> Batches:
    with opened(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=BATCH):
            yield batch.column(text).cast(pa.string()).to_pylist(), pa.Table.from_batches([batch])


def json_columns(path: Path, text: str, schema: pa.Schema) -> Batches:
    rows = json_rows(path)
    while batch := list(itertools.islice(rows, BATCH)):
        texts = [json_value_text(row[text], text, where) for where, row in batch]
        columns = [json_array([row.get(field.name) for _, row in batch], field.type) for field in schema]
        yield texts, pa.table(columns, schema=schema)


def json_array(values: list, kind: pa.DataType) -> pa.Array:
    """Values of JSON as a column of this type."""
    if kind != JSON:
        return pa.array(values, kind)
    written = [None if value is None else json.dumps(value) for value in values]
    return pa.array(written, pa.string()).cast(JSON)
