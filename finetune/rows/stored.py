"""Tokenised rows of one split, as the stages pass them on."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List, Value

from finetune.base.params import Tokenize
from finetune.rows.tokens import encode, special_tokens, truncate

TOKENIZED = Path("data/tokenized")


def row_features(names: list[str]) -> Features:
    """Columns of a stored split; the label column carries its `names`, and row ids point back to the source."""
    return Features(
        {
            "row": Value("int64"),  # position in the source, counted through all its splits
            "text": Value("string"),
            "label": ClassLabel(names=names),
            "group": Value("string"),
            "input_ids": List(Value("int32")),  # special tokens included, not padded
            "truncated": Value("bool"),
        }
    )


def tokenised_rows(
    ids: np.ndarray, batch: pa.RecordBatch, labels: np.ndarray, features: Features, tokenizer, settings: Tokenize
) -> tuple[pa.Table, list[int]]:
    """Rows as they are stored, and the number of tokens of each before truncation.

    `ids` are the row ids, `batch` holds text and group, `labels` are class ids; all have one entry per row.
    """
    special = special_tokens(tokenizer)
    whole = encode(tokenizer, batch.column("text").to_pylist())
    columns = [
        ids,
        batch.column("text"),
        labels.astype(np.int64),
        batch.column("group"),
        [truncate(tokens, settings.max_length, settings.truncation, special) for tokens in whole],
        [len(tokens) > settings.max_length for tokens in whole],
    ]
    return pa.table(columns, schema=features.arrow_schema), [len(tokens) for tokens in whole]


def read_rows(split: str) -> Dataset:
    """Rows of "train", "validation" or "test" in the order of the source."""
    return Dataset(pq.read_table(TOKENIZED / f"{split}.parquet"))


def label_names(rows: Dataset) -> list[str]:
    """Class names in id order."""
    return rows.features["label"].names
