"""The raw rows that `download` wrote, read in the order of their ids."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finetune.splitting.splits import SPLIT_NAMES, TRAIN

BATCH = 5_000  # rows read at a time; at 30 tokens each the lists of a batch take about 10 MB


def raw_files(folder: Path) -> list[tuple[int, Path]]:
    """Files of the source, each with its split; a single table counts as train."""
    if (folder / "all.parquet").exists():
        return [(TRAIN, folder / "all.parquet")]
    files = [(part, folder / f"{name}.parquet") for part, name in enumerate(SPLIT_NAMES)]
    return [(part, path) for part, path in files if path.exists()]


def count_rows(folder: Path) -> int:
    """Number of raw rows, taken from the files' metadata."""
    return sum(pq.read_metadata(path).num_rows for _, path in raw_files(folder))


def raw_batches(folder: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of at most `BATCH` raw rows in the order of their ids, each with the split of its file."""
    for part, path in raw_files(folder):
        for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH):
            yield part, batch


def raw_texts(folder: Path, ids: np.ndarray) -> list[str]:
    """Texts of the rows with these ids, which must rise."""
    texts, start = [], 0
    for _, batch in raw_batches(folder):
        here = ids[(ids >= start) & (ids < start + batch.num_rows)] - start
        texts += batch.column("text").take(pa.array(here)).to_pylist()
        start += batch.num_rows
    return texts
