"""Several labels per text, from a list, a separated text, or columns of 0 and 1."""

from finetune.base.errors import UserError
from finetune.base.names import normal_name
from finetune.base.params_data import Data

YES_NO = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}


def label_cells(batch: dict[str, list], data: Data, start: int = 0) -> list[list[str] | None]:
    """Labels of each row of a batch, sorted, in their normal form: [] for a row with none, None for one that is not labelled.

    `start` is the number of rows before the batch, for the place in a message. A null cell says nothing about the labels; an
    empty list, an empty text and columns of 0 say that there are none. Raises UserError for a cell that holds a label
    twice, for a text where a list is expected, and for a value of a column that is neither 0 nor 1.
    """
    where = f"row {{}} of {data.uri}"
    if not isinstance(data.label, str):
        columns = zip(*(batch[column] for column in data.label), strict=True)
        return [flagged(cell, data.label, where.format(start + row)) for row, cell in enumerate(columns, start=1)]
    return [
        listed(cell, data, f"{where.format(start + row)}, column {data.label!r}")
        for row, cell in enumerate(batch[data.label], start=1)
    ]


def flagged(cell: tuple[str | None, ...], columns: list[str], where: str) -> list[str] | None:
    """Names of the columns that hold 1; None if a column holds nothing."""
    values = [normal_name((value or "").casefold()) for value in cell]
    if None in values:
        return None
    for value, column in zip(values, columns, strict=True):
        if value not in YES_NO:
            raise UserError(
                f"{where}, column {column!r} holds {value[:40]!r}; expected 0 or 1, because data.label names several columns"
            )
    return sorted(column for value, column in zip(values, columns, strict=True) if YES_NO[value])


def listed(cell: list[str | None] | str | None, data: Data, where: str) -> list[str] | None:
    """Labels of a list or of a separated text; blank parts of a text are none."""
    if cell is None:
        return None
    if isinstance(cell, str):
        if data.separator is None:
            raise UserError(
                f"{where} holds the text {cell[:40]!r}; expected a list of labels: set data.separator to what stands between "
                'the labels of a text, such as ";"'
            )
        labels = [name for part in cell.split(data.separator) if (name := normal_name(part)) is not None]
    else:
        labels = [normal_name(label or "") for label in cell]
        if None in labels:
            raise UserError(f"{where} holds a list with an empty label; expected names of labels, or [] for none")
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise UserError(f"{where} holds the label {twice[:40]!r} twice; a text has a label or not, so keep one of them")
    return sorted(labels)
