"""Tokenised rows in memory, as `finetune.rows` reads them."""

from datasets import Dataset

from finetune.rows.stored import row_features
from finetune.rows.tokens import encode


def tokenised(tokenizer, rows: list[dict[str, str]], names: list[str], windows: bool = False) -> Dataset:
    """Reviews as a tokenised split with these label names; with `windows`, the second half of each is a window of its own."""
    ids = encode(tokenizer, [row["text"] for row in rows])
    if windows:
        ids = [[row[: len(row) // 2], row[len(row) // 2 :]] for row in ids]
    columns = {
        "row": list(range(len(rows))),
        "text": [row["text"] for row in rows],
        "label": [names.index(row["label"]) for row in rows],
        "group": [None] * len(rows),
        "input_ids": ids,
        "truncated": [False] * len(rows),
    }
    return Dataset.from_dict(columns, features=row_features(names, windows=windows))
