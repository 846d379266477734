"""Label names in the order of their ids, from the raw values of a column."""

import re
from collections import Counter
from collections.abc import Iterable

from finetune.base.errors import UserError
from finetune.base.names import name_form
from finetune.base.params_data import Data

MOST_LABELS = 1_000  # a column with more different values is a text, an id or a number to predict
MOST_VALUES = 1_000_000  # where `data.labels` names those to keep, and rows with all others are dropped
LONGEST_LABEL = 200  # characters


def name_of_each_value(counts: dict[str, Counter], data: Data) -> dict[str, str]:
    """Name of each raw label in id order: those of `data.labels`, or the values found in sorted order.

    `counts` says how often each raw label occurs in each split. Raises UserError if a name has no row, if there is only one
    class, if the values do not look like labels, if two of them differ only in form, or if train lacks one.
    """
    total = sum(counts.values(), Counter())
    values = [value for value in total if value is not None]
    check_values(values, len(values), data)
    check_forms(values, total, data)
    check_label_columns(total, data)
    if data.labels is not None:
        names = data.labels
        check_mapping(names, total, data.label)
    else:
        # Numbers in their order, so that 10 comes after 9.
        numeric = all(re.fullmatch(r"-?\d{1,18}", value) for value in values)
        names = {value: value for value in sorted(sorted(values), key=int if numeric else None)}
        check_missing_mark(values, total, data.label)
    if len(set(names.values())) < 2:
        raise UserError(f"a classifier needs at least two labels; column {data.label!r} holds {shown(total)}")
    check_train(counts, names)
    return names


def values_by_name(names: dict[str, str]) -> dict[str, list[str]]:
    """Raw values of each label name: {"1": "bad", "2": "bad"} -> {"bad": ["1", "2"]}."""
    values: dict[str, list[str]] = {}
    for value, name in names.items():
        values.setdefault(name, []).append(value)
    return values


def shown(counts: Counter) -> str:
    """The most frequent values with their counts: "'a' (3), 'b' (1)"."""
    return (
        ", ".join(f"{value!r} ({count})" for value, count in counts.most_common(10) if value is not None) or "no value"
    )


def check_values(values: Iterable[str | None], different: int, data: Data):
    """Raises UserError if values look like texts: if one is too long, or if there are too many `different` ones."""
    most = MOST_LABELS if data.labels is None else MOST_VALUES
    if different > most:
        raise UserError(
            f"column {data.label!r} holds more than {most:,} different values, so it is probably not a label; check data.label"
        )
    if longest := max((value for value in values if value and len(value) > LONGEST_LABEL), key=len, default=None):
        raise UserError(
            f"column {data.label!r} holds a value of {len(longest)} characters ({longest[:20]}…), so it is probably not a label; "
            "check data.label"
        )


def check_forms(values: list[str], counts: Counter, data: Data):
    """Raises UserError for no row, and for two values that `data.labels` does not both name and that differ only in form."""
    if not counts:
        raise UserError(f"{data.uri} has no row; expected rows below the names of the columns")
    named, forms = set(data.labels or ()), {}
    for value in sorted({*values, *named}):
        other = forms.setdefault(name_form(value), value)
        if other != value and not {value, other} <= named:
            raise UserError(
                f"column {data.label!r} holds {other!r} ({counts[other]}) and {value!r} ({counts[value]}), which differ only in "
                "form; name both under data.labels, with one name if they are one label"
            )


def check_mapping(names: dict[str, str], counts: Counter, column: str):
    """Raises UserError if a name of `data.labels` has no row."""
    for name, values in values_by_name(names).items():
        if not any(counts[value] for value in values):
            raise UserError(
                f"data.labels: no row holds {' or '.join(map(repr, values))}, which stands for {name!r}; "
                f"column {column!r} holds {shown(counts)}"
            )


def check_label_columns(counts: Counter, data: Data):
    """Raises UserError for a column of 0 and 1 that holds no 1: nothing can be learnt about its label."""
    columns = [] if isinstance(data.label, str) else data.label
    if empty := next((column for column in columns if not counts[column]), None):
        raise UserError(f"column {empty!r} holds no 1, so its label cannot be learnt; leave it out of data.label")


def check_missing_mark(values: list[str], counts: Counter, column: str):
    """Raises UserError for -1 beside labels that count from 0: in many data sets it marks a row without a label."""
    if {"-1", "0"} <= set(values) and all(value.isdecimal() for value in values if value != "-1"):
        raise UserError(
            f"column {column!r} holds -1 in {counts['-1']} rows, which often means that a row has no label; list the labels "
            "under data.labels, with -1 only if it is one"
        )


def check_train(counts: dict[str, Counter], names: dict[str, str]):
    """Raises UserError for a label that occurs in a split of the source but not in its train split."""
    for split in counts if "train" in counts else ():
        for name, values in values_by_name(names).items():
            if any(counts[split][value] for value in values) and not any(counts["train"][value] for value in values):
                raise UserError(
                    f"{split} has rows of the label {name!r} and train has none, so it cannot be learnt; "
                    "add rows to train, or leave the label out of data.labels, which drops its rows"
                )
