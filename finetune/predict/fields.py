"""Texts of several columns, given on the command line or on stdin as JSON objects: {"title": "Lost", "body": "It never came."}."""

import json
from collections.abc import Iterable, Iterator, Sequence

from finetune.base.errors import UserError
from finetune.base.names import normal_name, nothing_to_see
from finetune.sources.tables import check_columns, json_constant, json_text

Fields = tuple[str | None, ...]
SHOWN = 40  # characters of a wrong text in a message


def rows_of(batches: Iterable[Sequence[str]], columns: list[str], where: str) -> Iterator[list[Fields | None]]:
    """The fields of each text, in the order of the columns; None for a blank one. `where` is the word for a text in messages."""
    number = 0
    for texts in batches:
        yield [fields(text, columns, f"{where} {number + place}") for place, text in enumerate(texts, start=1)]
        number += len(texts)


def fields(text: str, columns: list[str], where: str) -> Fields | None:
    """Fields of one text; raises UserError if it is no JSON object, or lacks a column."""
    if nothing_to_see(text):
        return None
    try:
        row = json.loads(text, parse_float=str, parse_int=str, parse_constant=json_constant)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        expected = json.dumps(dict.fromkeys(columns, "…"), ensure_ascii=False)
        raise UserError(f"{where} must be a JSON object of the model's columns, {expected}, found {text[:SHOWN]}")
    spelt = check_columns(where, columns, list(row))
    if unknown := [name for name in row if name not in spelt]:
        raise UserError(
            f"{where} has {normal_name(unknown[0]) or unknown[0]!r}, which is no column of the model; its columns are {', '.join(columns)}"
        )
    return tuple(json_text(row[name], column, where) for name, column in zip(spelt, columns, strict=True))
