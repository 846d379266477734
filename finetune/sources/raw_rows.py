"""Raw rows as Parquet: the text as the source has it, label and group in their normal form."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from finetune.base.fields import is_blank, joined
from finetune.base.names import normal_name
from finetune.base.params_data import Data
from finetune.sources.label_cells import label_cells
from finetune.sources.labels import check_values

SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string()), ("group", pa.string())])
SETS_SCHEMA = SCHEMA.set(1, pa.field("label", pa.list_(pa.string())))  # several labels per text
FIELDS = pa.field("fields", pa.list_(pa.string()))  # the texts of several columns, which `text` joins


def text_columns(batch: dict, columns: list[str]) -> list[list]:
    """The column of the texts; of several, the joined texts (null where all are blank) and the lists of fields."""
    if len(columns) == 1:
        return [batch[columns[0]]]
    fields = [[field or "" for field in row] for row in zip(*(batch[column] for column in columns), strict=True)]
    return [[None if is_blank(row) else joined(row) for row in fields], fields]


def write_rows(batches: Iterable[dict], data: Data, path: Path) -> Counter:
    """Writes the rows as text, label and group (null where missing); returns how often each raw label occurs.

    With several labels per text, the label is a list. The texts of several columns are written joined, and one by one in a
    fourth column. Raises UserError as soon as the labels are none, before a wrong column fills the memory.
    """
    counts: Counter = Counter()
    rows = 0
    several = data.task == "multi_label"
    schema = SETS_SCHEMA if several else SCHEMA
    if len(data.columns) > 1:
        schema = schema.append(FIELDS)
    with pq.ParquetWriter(path, schema) as writer, tqdm(desc=f"{path.stem} rows", unit=" rows", disable=None) as bar:
        for batch in batches:
            labels = label_cells(batch, data, rows) if several else [normal_name(label) for label in batch[data.label]]
            groups = [normal_name(group) for group in batch[data.group]] if data.group else [None] * len(labels)
            texts, *fields = text_columns(batch, data.columns)
            writer.write_table(pa.table([texts, labels, groups, *fields], schema=schema))
            found = [label for cell in labels for label in cell or ()] if several else labels
            counts.update(found)
            check_values(set(found), len(counts), data)
            rows += len(labels)
            bar.update(len(labels))
    return counts
