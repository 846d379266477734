"""Raw rows as Parquet: the text as the source has it, label and group in their normal form."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from finetune.base.names import normal_name
from finetune.base.params import Data
from finetune.sources.labels import check_values

SCHEMA = pa.schema([("text", pa.string()), ("label", pa.string()), ("group", pa.string())])


def write_rows(batches: Iterable[dict], data: Data, path: Path) -> Counter:
    """Writes the rows as text, label and group (null where missing); returns how often each raw label occurs.

    Raises UserError as soon as the labels are none, before a wrong column fills the memory.
    """
    counts: Counter = Counter()
    with pq.ParquetWriter(path, SCHEMA) as writer, tqdm(desc=f"{path.stem} rows", unit=" rows", disable=None) as bar:
        for batch in batches:
            labels = [normal_name(label) for label in batch[data.label]]
            groups = [normal_name(group) for group in batch[data.group]] if data.group else [None] * len(labels)
            writer.write_table(pa.table([batch[data.text], labels, groups], schema=SCHEMA))
            counts.update(labels)
            check_values(set(labels), len(counts), data)
            bar.update(len(labels))
    return counts
