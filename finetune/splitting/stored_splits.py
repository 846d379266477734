"""The raw rows of each split, tokenised and written in batches, so that they need not fit into memory."""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features
from tqdm import tqdm

from finetune.base.params import Tokenize
from finetune.rows.encoding import Encoder
from finetune.rows.pairs import Pair, typed_ids
from finetune.rows.stored import TOKENIZED, tokenised_rows
from finetune.rows.tokens import check_vocabulary
from finetune.splitting.raw import raw_batches
from finetune.splitting.splits import SPLIT_NAMES


def write_splits(
    raw: Path,
    split: np.ndarray,
    labels: np.ndarray,
    features: Features,
    tokenizer,
    config,
    settings: Tokenize,
    pair: Pair | None,
) -> np.ndarray:
    """Writes the tokenised rows of each split; returns each row's length before truncation, 0 where it is left out.

    `split` and `labels` have an entry for each row of the folder `raw`. `features` are the columns, `pair` how the tokenizer
    joins two texts. Raises UserError if the tokenizer gives ids that the encoder does not have.
    """
    encoder = Encoder(tokenizer)
    lengths = np.zeros(len(split), np.int32)
    paths = [TOKENIZED / f"{name}.parquet" for name in SPLIT_NAMES]
    start = 0
    # The stack closes the files also after a failure. pyarrow would close them later, and print what fails then.
    with ExitStack() as files, tqdm(desc="tokenize", total=len(split), unit=" rows", disable=None) as bar:
        writers = [files.enter_context(pq.ParquetWriter(path, features.arrow_schema)) for path in paths]
        for _, batch in raw_batches(raw):
            rows = np.arange(start, start + batch.num_rows)
            kept = rows[split[rows] >= 0]
            chosen = batch.take(pa.array(kept - start))
            table, lengths[kept] = tokenised_rows(kept, chosen, labels[kept], features, encoder, settings, pair)
            ids, _ = typed_ids(pc.list_flatten(table.column("input_ids"), recursive=True).to_numpy())
            check_vocabulary(int(ids.max(initial=0)), config)
            for part, writer in enumerate(writers):
                writer.write_table(table.filter(pa.array(split[kept] == part)))
            start += batch.num_rows
            bar.update(batch.num_rows)
    return lengths
