"""Tokenised rows of one split, as the stages hand them on."""

from pathlib import Path

import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List, Value

TOKENIZED = Path("data/tokenized")


def row_features(names: list[str]) -> Features:
    """Columns of a stored split; label names travel with the column, row ids lead back to the source."""
    return Features(
        {
            "row": Value("int64"),  # place in the source, counted through all its splits
            "text": Value("string"),
            "label": ClassLabel(names=names),
            "group": Value("string"),
            "input_ids": List(Value("int32")),  # special tokens included, not padded
            "truncated": Value("bool"),
        }
    )


def read_rows(split: str) -> Dataset:
    """Rows of "train", "validation" or "test" in the order of the source."""
    return Dataset(pq.read_table(TOKENIZED / f"{split}.parquet"))


def label_names(rows: Dataset) -> list[str]:
    """Class names in id order."""
    return rows.features["label"].names
