"""Tokenised rows of one split, as the stages pass them on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import ClassLabel, Dataset, Features, List, Value

from finetune.base.params_data import Tokenize
from finetune.rows.encoding import Encoder, cut, pair_rows
from finetune.rows.label_lists import matrix_of
from finetune.rows.pairs import Pair
from finetune.rows.token_ids import TokenIds
from finetune.rows.tokens import special_tokens
from finetune.rows.windows import Documents, window_column

TOKENIZED = Path("data/tokenized")
# Most training rows that the baselines learn from and that are searched for near-duplicates and doubtful labels. TF-IDF of
# a million rows would take hours and tens of gigabytes.
TRAIN_SAMPLE = 50_000
BATCH = 5_000  # rows read at a time; at 45 tokens each they take 2 MB


def row_features(names: list[str], several: bool = False, fields: bool = False, windows: bool = False) -> Features:
    """Columns of a stored split; the label column carries its `names`, and row ids point back to the source.

    With `several` labels per text, a label is a list of ids. With `fields`, rows also hold the texts of several columns,
    which `text` joins; with `windows`, `input_ids` is a list of windows.
    """
    label = ClassLabel(names=names)
    return Features(
        {
            "row": Value("int64"),  # position in the source, counted through all its splits
            "text": Value("string"),
            "label": List(label) if several else label,
            "group": Value("string"),
            "input_ids": List(List(Value("int32")))
            if windows
            else List(Value("int32")),  # special tokens included, not padded; of pairs see `pairs`
            "truncated": Value("bool"),
        }
        | ({"fields": List(Value("string"))} if fields else {})
    )


def tokenised_rows(
    ids: np.ndarray,
    batch: pa.RecordBatch,
    labels: np.ndarray,
    features: Features,
    encoder: Encoder,
    settings: Tokenize,
    pair: Pair | None = None,
) -> tuple[pa.Table, np.ndarray]:
    """Rows as they are stored, and the number of tokens of each before truncation.

    `ids` are the row ids, `batch` holds text and group, and fields where there are several columns; `labels` are class ids,
    or an object array of sequences of them. All have one entry per row. `pair` is how the tokenizer joins two fields.
    """
    fields = [batch.column("fields")] if "fields" in features else []
    special = special_tokens(encoder.tokenizer)
    if settings.overlap is not None:
        whole = encoder(batch.column("text"))
        rows, lengths = window_column(whole, settings.max_length, settings.overlap, special), whole.lengths
    elif pair is None:
        whole = encoder(batch.column("text"))
        rows, lengths = (
            cut(whole, settings.max_length, settings.truncation, special),
            whole.lengths,
        )
    else:
        texts = pc.list_flatten(fields[0])
        one, other = (encoder.bare(texts.take(pa.array(range(first, len(texts), 2)))) for first in (0, 1))
        rows = pair_rows(one, other, pair, settings.max_length, settings.truncation)
        lengths = one.lengths + other.lengths + pair.special
    columns = [
        ids,
        batch.column("text"),
        labels if labels.dtype == object else labels.astype(np.int64),
        batch.column("group"),
        rows if isinstance(rows, pa.Array) else rows.as_arrow(),
        (lengths > settings.max_length) & (settings.overlap is None),
        *fields,
    ]
    return pa.table(columns, schema=features.arrow_schema), lengths


def texts_read(rows: Dataset) -> list[str] | list[list[str]]:
    """The texts as the model gets them: the fields of each row where they come from several columns."""
    return rows["fields"][:] if "fields" in rows.features else rows["text"][:]


def read_rows(split: str, columns: Sequence[str] | None = None) -> Dataset:
    """Rows of "train", "validation" or "test" in the order of the source, with all columns or those that are named."""
    with stored(split) as file:
        return as_dataset(list(batches(file, columns)), file.schema_arrow, columns, split)


def read_sample(split: str, most: int, seed: int) -> Dataset:
    """At most `most` rows of a split with all columns, drawn with a seed, in the order of the source; all if there are no more.

    A smaller sample of the same seed is part of a larger one. Only the rows of the sample are held in memory.
    """
    with stored(split) as file:
        count = file.metadata.num_rows
        if count <= most:
            return read_rows(split)
        chosen = np.sort(np.random.default_rng(seed).permutation(count)[:most])
        parts, start = [], 0
        for batch in batches(file, None):
            here = chosen[slice(*np.searchsorted(chosen, [start, start + batch.num_rows]))] - start
            parts.append(batch.take(pa.array(here)))
            start += batch.num_rows
        return as_dataset(parts, file.schema_arrow, None, f"{split} {most} {seed}")


def batches(file: pq.ParquetFile, columns: Sequence[str] | None) -> Iterator[pa.RecordBatch]:
    """Rows of a file, one batch after another: reading it whole, in threads, takes another 1.5 times the columns' memory."""
    return file.iter_batches(BATCH, columns=columns and list(columns), use_threads=False)


def as_dataset(
    batches: list[pa.RecordBatch], schema: pa.Schema, columns: Sequence[str] | None, fingerprint: str
) -> Dataset:
    """Batches of a stored split as a data set."""
    if columns:
        features = Features.from_arrow_schema(schema)
        schema = Features({name: features[name] for name in columns}).arrow_schema
        batches = [batch.select(schema.names) for batch in batches]
    table = pa.Table.from_batches([pa.record_batch(batch.columns, schema=schema) for batch in batches], schema)
    # For a fingerprint of its own, the library would copy the whole table and hash it.
    return Dataset(table, fingerprint=fingerprint)


def count_stored(split: str) -> int:
    """Number of rows of a split, from the file's metadata."""
    with stored(split) as file:
        return file.metadata.num_rows


def stored(split: str) -> pq.ParquetFile:
    """File of a split. Raises FileNotFoundError if there is none."""
    path = TOKENIZED / f"{split}.parquet"
    path.stat()  # Python's error names the missing file, Arrow's does not
    return pq.ParquetFile(path, pre_buffer=False)


def column(rows: Dataset, name: str) -> pa.ChunkedArray:
    """A column as Arrow holds it."""
    return rows.select_columns(name).with_format("arrow")[:].column(name)


def class_ids(rows: Dataset) -> np.ndarray:
    """Class id of each row, int64."""
    return column(rows, "label").to_numpy()


def token_ids(rows: Dataset) -> TokenIds | Documents:
    """Token ids of each row, special tokens included, in Arrow's buffers; `Documents` where a row is a list of windows."""
    ids = column(rows, "input_ids")
    return Documents.of_column(ids) if pa.types.is_list(ids.type.value_type) else TokenIds(ids)


def has_label_sets(rows: Dataset) -> bool:
    """Whether a row has a set of labels, which may be empty, instead of one label."""
    return isinstance(rows.features["label"], List)


def label_matrix(rows: Dataset) -> np.ndarray:
    """Whether each row has each label, bool of shape [rows, labels]."""
    return matrix_of(column(rows, "label"), len(label_names(rows)))


def label_names(rows: Dataset) -> list[str]:
    """Class names in id order."""
    feature = rows.features["label"]
    return (feature.feature if has_label_sets(rows) else feature).names
