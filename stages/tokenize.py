"""Clean, split and tokenise the rows once, without padding.

    python -m stages.tokenize

reads   data/raw/, models/base/
writes  data/tokenized/: train, validation and test as Parquet, the tokenizer, source.json
        metrics/data.json, metrics/detail/tokenize/
"""

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasets import Features
from tqdm import tqdm

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.files import read_json, write_json
from finetune.base.metric_files import write_metrics
from finetune.base.params import Tokenize, read_params
from finetune.base.terminal import say
from finetune.rows.encoding import Encoder
from finetune.rows.pairs import Pair, pair_of, reading, typed_ids
from finetune.rows.stored import TOKENIZED, row_features, tokenised_rows
from finetune.rows.tokenizer_fit import SAMPLE, misfit, tokenizer_fit
from finetune.rows.tokens import (
    check_length,
    check_vocabulary,
    ensure_padding,
    load_config,
    load_tokenizer,
    special_tokens,
)
from finetune.rows.windows import check_stride
from finetune.splitting.column_counts import column_counts, column_lines
from finetune.splitting.keys import label_ids, row_keys
from finetune.splitting.label_sets import LabelSets, assign_set_splits, set_counts
from finetune.splitting.raw import count_rows, raw_batches, raw_texts
from finetune.splitting.splits import SPLIT_NAMES, assign_splits, evenly_spaced, split_counts, split_lines

RAW = Path("data/raw")
BASE = Path("models/base")
BATCH = 5_000  # rows; at 30 tokens each the lists of a batch take about 10 MB


def write_splits(
    split: np.ndarray,
    labels: np.ndarray,
    features: Features,
    tokenizer,
    config,
    settings: Tokenize,
    pair: Pair | None,
) -> np.ndarray:
    """Writes the tokenised rows of each split; returns each row's length before truncation, 0 where it is left out.

    `features` are the columns, `pair` how the tokenizer joins two texts. Raises UserError if the tokenizer gives ids that the encoder does not have.
    """
    encoder = Encoder(tokenizer)
    lengths = np.zeros(len(split), np.int32)
    paths = [TOKENIZED / f"{name}.parquet" for name in SPLIT_NAMES]
    start = 0
    # The stack closes the files also after a failure. pyarrow would close them later, and print what fails then.
    with ExitStack() as files, tqdm(desc="tokenize", total=len(split), unit=" rows", disable=None) as bar:
        writers = [files.enter_context(pq.ParquetWriter(path, features.arrow_schema)) for path in paths]
        for _, batch in raw_batches(RAW, BATCH):
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


def check_windows(settings: Tokenize, tokenizer, pair: Pair | None):
    """Raises UserError for windows of pairs, and for an overlap that leaves no new token."""
    if settings.overlap is not None and pair is not None:
        raise UserError(
            "tokenize.truncation: windows is for one text, and data.text names two columns, which are read as a pair; set head or "
            "head_tail, or join the columns in your data"
        )
    check_stride(settings.overlap, settings.max_length, special_tokens(tokenizer))


def main():
    split_settings, settings = read_params("split", "tokenize")
    tokenizer, config = load_tokenizer(BASE), load_config(BASE)
    ensure_padding(tokenizer, config)
    raw = read_json(RAW / "source.json")
    columns = raw.get("columns")
    pair = pair_of(tokenizer, config) if columns and len(columns) == 2 else None
    check_length(settings.max_length, tokenizer, config, pair)
    check_windows(settings, tokenizer, pair)
    label_names = list(dict.fromkeys(raw["labels"].values()))
    several = raw.get("task") == "multi_label"
    ids = label_ids(raw["labels"])
    sets = LabelSets(ids) if several else None
    keys = row_keys(raw_batches(RAW, BATCH), count_rows(RAW), sets or ids)
    split, dropped = (
        assign_set_splits(keys, sets, split_settings, label_names)
        if several
        else assign_splits(keys, split_settings, label_names)
    )
    labels = sets.of_rows(keys.label) if several else keys.label

    TOKENIZED.mkdir(parents=True, exist_ok=True)
    features = row_features(label_names, several, bool(columns), settings.overlap is not None)
    lengths = write_splits(split, labels, features, tokenizer, config, settings, pair)
    tokenizer.model_max_length = settings.max_length
    tokenizer.save_pretrained(TOKENIZED / "tokenizer")
    source = {
        "data": raw,
        "model": read_json(BASE / "source.json"),
        "truncation": settings.truncation,
        "settings": {"split": split_settings.recorded(), "tokenize": settings.recorded()},
    }
    write_json(TOKENIZED / "source.json", source | ({"pair": pair} if pair else {}))

    used = lengths[split >= 0]
    fit = tokenizer_fit(raw_texts(RAW, BATCH, evenly_spaced(split, SAMPLE)), tokenizer)
    counts = (
        set_counts(split, keys.label, sets, label_names) if several else split_counts(split, keys.label, label_names)
    )
    metrics = counts | {
        "dropped": dropped,
        "tokens": {"mean": used.mean(), "p95": np.percentile(used, 95), **fit},
        "truncated": 0.0 if settings.overlap is not None else (used > settings.max_length).mean(),
    }
    if columns:
        metrics["columns"] = column_counts(columns, TOKENIZED)
    write_metrics("data", metrics)
    for line in split_lines(metrics["rows"], dropped, split_settings):
        say(line)
    if columns:
        for line in column_lines(metrics["columns"], metrics["rows"]["test"], reading(pair)):
            say(line)
    if warning := misfit(metrics["tokens"]):
        say(f"warning: {warning}")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
