"""What the columns of texts of several columns hold: empty cells, and texts that test shares with train."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from finetune.base.fields import is_blank
from finetune.splitting.keys import text_key
from finetune.splitting.splits import SPLIT_NAMES

BATCH = 5_000  # rows read at a time


def column_counts(columns: list[str], folder: Path) -> dict[str, dict[str, int]]:
    """For each column the rows whose cell is `empty`, and the test rows whose text a training row has too (`shared`).

    `folder` holds the tokenised splits. A text that is in train and in test with other neighbours is no duplicate, but
    a model may know its label from there.
    """
    empty = np.zeros(len(columns), int)
    keys: dict[str, list[list[int]]] = {}
    for split in SPLIT_NAMES:
        keys[split] = [[] for _ in columns]
        with pq.ParquetFile(folder / f"{split}.parquet") as file:
            for batch in file.iter_batches(BATCH, columns=["fields"]):
                for row in batch.column("fields").to_pylist():
                    empty += [is_blank(field) for field in row]
                    for known, field in zip(keys[split], row, strict=True):
                        known.append(text_key(field))
    counts = {}
    for number, column in enumerate(columns):
        train, test = (np.array(keys[split][number], np.uint64) for split in ("train", "test"))
        shared = int((np.isin(test, train) & (test != 0)).sum())
        counts[column] = {"empty": int(empty[number]), "shared": shared}
    return counts


def column_lines(counts: dict[str, dict[str, int]], test_rows: int, reading: str) -> list[str]:
    """For the terminal: how the columns become one input, empty cells, and shared texts."""
    lines = [f"columns {', '.join(counts)}: read as {reading}"]
    lines += [
        f"{block['empty']} rows have nothing under {column}" for column, block in counts.items() if block["empty"]
    ]
    return lines + [
        f"{block['shared']} of {test_rows} test rows share their {column} with a training row; if that gives their label "
        f"away, set data.group to {column}"
        for column, block in counts.items()
        if block["shared"]
    ]
