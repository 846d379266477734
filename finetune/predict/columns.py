"""Tables read in batches: every column unchanged, and the texts of one of them or of several.

Columns of CSV and TSV are text. A column of JSON Lines holds numbers, booleans or text if all its values do, else JSON; a
key missing from a row is null. Parquet columns keep their types. Memory does not grow with the table.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from finetune.sources.bounds import check_column_count
from finetune.sources.compressed import readable
from finetune.sources.csv_rows import csv_rows
from finetune.sources.parquet_rows import column_texts, parquet_file, parquet_rows
from finetune.sources.tables import (
    check_columns,
    check_whole,
    json_batches,
    json_rows,
    json_text,
    json_value,
    known_format,
    read_batches,
)

JSON = pa.json_(pa.string())
SEPARATORS = {".csv": ",", ".tsv": "\t"}
INT64 = range(-(2**63), 2**63)
EXACT = range(-(2**53), 2**53 + 1)  # range in which float64 holds every integer
# Type of a column by the kinds of its values, nulls ignored. Any other mixture becomes JSON, which changes no value.
TYPES = {
    frozenset(): pa.null(),
    frozenset({"truth"}): pa.bool_(),
    frozenset({"integer"}): pa.int64(),
    frozenset({"long integer"}): pa.int64(),
    frozenset({"integer", "long integer"}): pa.int64(),
    frozenset({"float"}): pa.float64(),
    frozenset({"integer", "float"}): pa.float64(),
    frozenset({"text"}): pa.string(),
}
Texts = list[str | None] | list[tuple[str | None, ...]]  # of one column, or of several
Batches = Iterator[tuple[Texts, pa.Table]]  # texts, and the rows that hold them


class Survey(NamedTuple):
    """Result of a first pass over a table: its number of rows, and its columns with their types."""

    rows: int
    schema: pa.Schema


def survey(path: Path, columns: list[str]) -> Survey:
    """Rows and columns of a table, read to its end, so that any mistake in it is reported before long work starts.

    Raises UserError as `finetune.sources.tables.read_batches` does, and for two columns of one name.
    """
    ending = known_format(path)
    with readable(path):
        if ending in SEPARATORS:
            return csv_survey(path, columns, SEPARATORS[ending])
        return parquet_survey(path, columns) if ending == ".parquet" else json_survey(path, columns)


def csv_survey(path: Path, columns: list[str], separator: str) -> Survey:
    header = next(csv_rows(path, separator))
    check_columns(path.name, [*columns, *header], header)
    rows = sum(len(batch[columns[0]]) for batch in read_batches(path, header))
    return Survey(rows, pa.schema([(name, pa.string()) for name in header]))


def parquet_survey(path: Path, columns: list[str]) -> Survey:
    with parquet_file(path) as table:
        schema = table.schema_arrow
    check_columns(path.name, [*columns, *schema.names], schema.names)
    rows = sum(len(batch[columns[0]]) for batch in read_batches(path, columns))
    return Survey(rows, schema.with_metadata(kept(schema.metadata)))


def kept(metadata: dict | None) -> dict | None:
    """Metadata of a Parquet file without the features of `datasets`, which would lack the new columns."""
    return {key: value for key, value in metadata.items() if key != b"huggingface"} if metadata else None


def json_survey(path: Path, columns: list[str]) -> Survey:
    rows, kinds = 0, {}
    for where, row, _ in json_rows(path):
        for column in columns:
            json_value_text(json_value(row, column, where), column, where)
        rows += 1
        for key, value in row.items():
            if key not in kinds:
                check_whole(key, f"{where}: the name {key!r}")
                kinds[key] = set()
            if value is not None:
                kinds[key].add(json_kind(value))
        check_column_count(f"{path.name}, up to {where.removeprefix(path.name + ' ')},", len(kinds))
    kinds = kinds or {column: set() for column in columns}
    return Survey(rows, pa.schema([(key, TYPES.get(frozenset(seen), JSON)) for key, seen in kinds.items()]))


def json_kind(value) -> str:
    """Kind of a JSON value: a word of TYPES, or "other"."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int):
        return "integer" if value in EXACT else "long integer" if value in INT64 else "other"
    if isinstance(value, str):
        # JSON can write an unpaired surrogate, which is not valid text; a column of JSON keeps it unchanged.
        return "other" if any("\ud800" <= letter <= "\udfff" for letter in value) else "text"
    return "float" if isinstance(value, float) else "other"


def json_line(value, ascii_only: bool = False) -> str:
    """A value as JSON: NaN and infinities, which JSON lacks, become null; dates and the like become text."""
    try:
        return json.dumps(value, ensure_ascii=ascii_only, allow_nan=False, default=str)
    except ValueError:
        loose = json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
        return json.dumps(loose, ensure_ascii=ascii_only, allow_nan=False)


def json_value_text(value, column: str, where: str) -> str | None:
    """A JSON value, text or number, as the text to classify; raises UserError for a list or an object."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return json_text(json.dumps(value) if number else value, column, where)


def of_rows(columns: list[list]) -> Texts:
    """Texts of each row, from those of each column: of one column as they are, of several as tuples."""
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))


def read_columns(path: Path, columns: list[str], schema: pa.Schema, size: int) -> Batches:
    """Texts of the named columns, and all columns, of a surveyed table; at most `size` rows at a time."""
    ending = known_format(path)
    with readable(path):
        if ending in SEPARATORS:
            read = read_batches(path, schema.names)
            batches = ((of_rows([batch[column] for column in columns]), pa.table(batch, schema)) for batch in read)
        elif ending == ".parquet":
            batches = parquet_columns(path, columns)
        else:
            batches = json_columns(path, columns, schema)
        for texts, rows in batches:
            for start in range(0, len(texts), size):
                yield texts[start : start + size], rows.slice(start, size)


def parquet_columns(path: Path, columns: list[str]) -> Batches:
    with parquet_file(path) as table:
        spelt = check_columns(path.name, columns, table.schema_arrow.names)
        for rows in parquet_rows(table, path, table.schema_arrow.names):
            texts = [
                column_texts(rows.column(name).combine_chunks(), None, f"{path.name}: {column!r}")
                for column, name in zip(columns, spelt, strict=True)
            ]
            yield of_rows(texts), rows


def json_columns(path: Path, columns: list[str], schema: pa.Schema) -> Batches:
    for batch in json_batches(path):
        texts = [
            [json_value_text(json_value(row, column, where), column, where) for where, row, _ in batch]
            for column in columns
        ]
        arrays = [json_array([row.get(field.name) for _, row, _ in batch], field.type) for field in schema]
        yield of_rows(texts), pa.table(arrays, schema=schema)


def json_array(values: list, kind: pa.DataType) -> pa.Array:
    """JSON values as a column of this type."""
    if kind != JSON:
        return pa.array(values, kind)
    # Arrow accepts an unpaired surrogate only as an ASCII escape.
    written = [None if value is None else json_line(value, ascii_only=True) for value in values]
    return pa.array(written, pa.string()).cast(JSON)
