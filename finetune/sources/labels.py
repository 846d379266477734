"""Names and ids of the labels, from the raw values of a column."""

import re
from collections import Counter

from finetune.base.errors import UserError
from finetune.base.params import Data


def name_of_each_value(counts: Counter, data: Data) -> dict[str, str]:
    """Name of each raw label in id order: those of `data.labels`, or the values found in sorted order.

    Raises UserError when a name would have no row, when there is only one class, or when the values
    look like no labels.
    """
    found = [value for value in counts if value is not None]
    shown = (
        ", ".join(f"{value!r} ({count})" for value, count in counts.most_common(10) if value is not None) or "no value"
    )
    if data.labels is not None:
        for name in dict.fromkeys(data.labels.values()):
            values = [value for value, known in data.labels.items() if known == name]
            if not any(counts[value] for value in values):
                wanted = " or ".join(map(repr, values))
                raise UserError(
                    f"data.labels: no row holds {wanted}, which stands for {name!r}; column {data.label!r} holds {shown}"
                )
        names = data.labels
    else:
        if len(found) > 1000:
            raise UserError(
                f"column {data.label!r} holds {len(found)} different values, so it seems to be no label; check data.label"
            )
        numeric = all(re.fullmatch(r"-?\d+", value) for value in found)
        # Numbers in their order, so that 10 comes after 9.
        names = {value: value for value in sorted(sorted(found), key=int if numeric else None)}
    if len(set(names.values())) < 2:
        raise UserError(f"a classifier needs at least two labels; column {data.label!r} holds {shown}")
    return names
