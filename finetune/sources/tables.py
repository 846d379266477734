"""Tables (CSV, TSV, JSON Lines, Parquet; plain, gz, bz2, xz or zip), read in batches.

Every value is returned as it is written in the file: `007` keeps its zeros, and the word `null` is a word. A
batch is a dictionary of columns, each a list of `str` or None.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from finetune.base.errors import UserError, one_line
from finetune.base.files import file_kind
from finetune.base.names import normal_name
from finetune.sources.bounds import LONGEST_ROW, batches, bounded_lines, check_column_count
from finetune.sources.compressed import COMPRESSIONS, opened, readable, zip_member
from finetune.sources.csv_rows import csv_rows
from finetune.sources.parquet_rows import class_names, column_texts, list_texts, parquet_file, parquet_rows

# Levels of nested JSON kept in reserve, so that a row read here can also be written from deeper in the call stack.
ROOM = 50
SPLIT_OF_FILE = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}
SPLIT_FILE = re.compile(rf"^({'|'.join(SPLIT_OF_FILE)})([-_.].*)?$", re.IGNORECASE)
OTHER_TABLES = (".xlsx", ".xls", ".ods", ".arrow", ".feather", ".orc", ".avro", ".tab", ".db", ".sqlite")
NO_TABLES = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json")  # facts about tables
SEPARATOR_HINTS = {
    mark: f"; they seem to be separated by {name}: save the table with commas as .csv, or with tabs as .tsv"
    for mark, name in ((";", "semicolons"), ("|", "bars"), (",", "commas"))
}


class MissingColumn(UserError):
    """A table lacks a required column; the caller knows which setting names it."""


def split_files(path: Path) -> dict[str, list[Path]]:
    """Files of each split: {"all": [file]}, or in a folder those called train, validation and test.

    A folder may hold several files for one split (`train-00000-of-00002.parquet`), which are read in the order of their
    names. Raises UserError for a table in the folder, or in a folder inside it, that would be ignored.
    """
    if path.is_file():
        return {"all": [path]}
    if not path.is_dir():
        raise UserError(f"{path} is neither a file nor a folder; name a table or a folder of tables")
    files = sorted(file for file in path.rglob("*") if is_table(file.relative_to(path)) and not file.is_dir())
    if unreadable := next((file for file in files if not file.is_file()), None):
        raise UserError(f"{unreadable} is {file_kind(unreadable)}, expected a file; remove it or put the table there")
    splits: dict[str, list[Path]] = {}
    for file in files:
        match = SPLIT_FILE.match(file.name)
        if match and file.parent == path and table_format(file) in READERS:
            splits.setdefault(SPLIT_OF_FILE[match[1].lower()], []).append(file)
    if not splits and len(files) == 1 and files[0].parent == path and table_format(files[0]) in READERS:
        return {"all": files}
    found = ", ".join(str(file.relative_to(path)) for file in files[:10]) or "no table"
    if "train" not in splits:
        raise UserError(
            f"{path} must hold one table, or files called train and optionally validation and test; it holds {found}"
        )
    if ignored := [
        str(file.relative_to(path)) for file in files if not any(file in known for known in splits.values())
    ]:
        raise UserError(
            f"{path} holds {ignored[0]}, which is not called train, validation or test, or has another format than "
            f"{', '.join(READERS)}; rename it, or move it away if it is not to be read"
        )
    return splits


def is_table(path: Path) -> bool:
    """Whether a path, from the folder that is read, looks like a table; hidden files and folders do not."""
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return not hidden and table_format(path) in (*READERS, *OTHER_TABLES) and path.name.lower() not in NO_TABLES


def table_format(path: Path) -> str:
    """Ending that names the format, without the compression: `reviews.csv.gz` -> ".csv"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def read_batches(
    path: Path, columns: list[str], list_column: str | None = None
) -> Iterator[dict[str, list[str | None]]]:
    """The named columns of a table, batch by batch; memory does not grow with the table.

    Raises UserError for an unknown format, a missing column (MissingColumn, which lists the columns found), text that
    is not UTF-8, or a damaged file. In JSON Lines and Parquet, cells of `list_column` may be lists of texts.
    """
    reader = READERS[known_format(path)]
    with readable(path):
        lists = {} if list_column is None or reader in (csv_batches, tsv_batches) else {"list_column": list_column}
        yield from reader(path, columns, **lists)


def known_format(path: Path) -> str:
    """Format of a table, or of the only file in its archive: a key of READERS. Raises UserError for any other ending."""
    ending = table_format(path)
    if path.suffix.lower() == ".zip":
        ending = Path(zip_member(path)).suffix.lower()
    if ending not in READERS:
        raise UserError(
            f"{path} has an unknown format; expected one of {', '.join(READERS)}, plain or {', '.join(COMPRESSIONS)}"
        )
    return ending


def check_columns(where: str, wanted: list[str], found: list[str]) -> list[str]:
    """The wanted columns as the table spells them. Raises MissingColumn, listing those found, or UserError if one is there twice.

    Names are compared in their normal form (`finetune.base.names`), so `label` also finds `label `.
    """
    spelt, spellings = [], {}
    for name in found:
        for form in {name, normal_name(name)}:
            spellings.setdefault(form, []).append(name)
    for column in wanted:
        names = spellings.get(column)
        if not names:
            hint = next((hint for mark, hint in SEPARATOR_HINTS.items() if len(found) == 1 and mark in found[0]), "")
            raise MissingColumn(f"{where} has no column {column!r}; its columns are {', '.join(found)}{hint}")
        if len(names) > 1:
            raise UserError(f"{where} has {len(names)} columns {column!r}; give each a different name")
        spelt += names
    return spelt


def csv_batches(path: Path, columns: list[str], separator: str = ","):
    rows = csv_rows(path, separator)
    header = next(rows)
    check_columns(path.name, columns, header)
    positions = [header.index(column) for column in columns]
    for batch in batches(rows, lambda row: sum(map(len, row))):
        yield transposed(batch, columns, positions)


def transposed(rows: list[list[str]], columns: list[str], positions: list[int]) -> dict[str, list[str | None]]:
    """The fields at `positions` as columns; a field that a short row lacks is None."""
    return {
        column: [row[position] if position < len(row) else None for row in rows]
        for column, position in zip(columns, positions, strict=True)
    }


def tsv_batches(path: Path, columns: list[str]):
    return csv_batches(path, columns, separator="\t")


class JsonRow(NamedTuple):
    """A line of JSON Lines: the words for its place, its object, and how many characters it has."""

    where: str
    values: dict
    characters: int


def json_rows(path: Path, **parsers) -> Iterator[JsonRow]:
    """The object in each line that is not blank; `parsers` go to json.loads.

    Raises UserError for a line that is no JSON object or has more than LONGEST_ROW characters, and for an object that names
    a key twice or has too many keys.
    """
    parsers = {"parse_constant": json_constant, "object_pairs_hook": unique_keys} | parsers
    with opened(path, "rt", encoding="utf-8-sig") as file:
        for number, line in enumerate(bounded_lines(file), start=1):
            if len(line) > LONGEST_ROW:
                raise UserError(
                    f"{path} line {number} has more than {LONGEST_ROW:,} characters; expected one object per line, the object "
                    "of one row"
                )
            if not line.strip():
                continue
            try:
                row = json.loads(line, **parsers)
                if line.count("[") + line.count("{") > ROOM:
                    json.loads(f"{'[' * ROOM}{line}{']' * ROOM}", **parsers)
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{path} line {number} is not JSON ({error.msg}); expected one object per line"
                ) from None
            except RepeatedKey as error:
                raise UserError(f"{path} line {number} has the key {str(error)!r} twice; keep one of them") from None
            except ValueError:
                # Python refuses very long integers, because parsing them takes quadratic time.
                raise UserError(
                    f"{path} line {number} holds an integer of more than {sys.get_int_max_str_digits()} digits; "
                    "put it in double quotes"
                ) from None
            except RecursionError:
                raise UserError(
                    f"{path} line {number} nests lists or objects too deeply to read; keep it to a few hundred levels"
                ) from None
            if not isinstance(row, dict):
                raise UserError(
                    f'{path} line {number} must be an object such as {{"text": …}}, found {line.strip()[:40]}'
                )
            check_column_count(f"{path} line {number}", len(row))
            yield JsonRow(f"{path.name} line {number}", row, len(line))


def json_batches(path: Path, **parsers) -> Iterator[list[JsonRow]]:
    """The rows of `json_rows`, many at a time."""
    return batches(json_rows(path, **parsers), lambda row: row.characters)


class RepeatedKey(Exception):
    """The key that an object of JSON names twice."""


def unique_keys(pairs: list[tuple[str, object]]) -> dict:
    """Object of JSON; raises RepeatedKey where Python would keep the last of two values without a word."""
    value = dict(pairs)
    if len(value) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise RepeatedKey(next(name for name in times if times[name] > 1))
    return value


def json_constant(name: str) -> float | None:
    """NaN, with which pandas marks a missing value, is null; the infinities are numbers."""
    return None if name == "NaN" else float(name)


def jsonl_batches(path: Path, columns: list[str], list_column: str | None = None):
    # Numbers keep the form in which they are written.
    for batch in json_batches(path, parse_float=str, parse_int=str):
        yield {
            column: [
                (json_texts if column == list_column else json_text)(json_value(row, column, where), column, where)
                for where, row, _ in batch
            ]
            for column in columns
        }


def json_value(row: dict, column: str, where: str):
    """Value of a column, whose name may be spelt with blanks or invisible characters. Raises MissingColumn as `check_columns`."""
    return row[column] if column in row else row[check_columns(where, [column], list(row))[0]]


def json_text(value, column: str, where: str) -> str | None:
    """One JSON value as text; raises UserError for a list, an object or an unpaired surrogate."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return None
    if not isinstance(value, str):
        raise UserError(f"{where}: {column!r} must be text, found a {type(value).__name__}")
    check_whole(value, f"{where}: {column!r}")
    return value


def json_texts(value, column: str, where: str) -> list[str | None] | str | None:
    """A JSON list as a list of texts, anything else as text."""
    if isinstance(value, list):
        return [json_text(item, column, where) for item in value]
    return json_text(value, column, where)


def check_whole(text: str, where: str):
    """Raises UserError for an unpaired surrogate: in JSON, \\ud83d is half an emoji, which UTF-8 cannot encode."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"{where} contains an unpaired surrogate, such as half an emoji ({one_line(error)}); fix the text"
        ) from None


def parquet_batches(path: Path, columns: list[str], list_column: str | None = None):
    with parquet_file(path) as table:
        spelt = check_columns(path.name, columns, table.schema_arrow.names)
        names = {column: class_names(table.schema_arrow, column) for column in spelt}
        for rows in parquet_rows(table, path, spelt):
            yield {
                column: (list_texts if column == list_column else column_texts)(
                    rows.column(name).combine_chunks(), names[name], f"{path.name}: {column!r}"
                )
                for column, name in zip(columns, spelt, strict=True)
            }


READERS = {
    ".csv": csv_batches,
    ".tsv": tsv_batches,
    ".tab": tsv_batches,
    ".jsonl": jsonl_batches,
    ".ndjson": jsonl_batches,
    ".json": jsonl_batches,
    ".parquet": parquet_batches,
}
