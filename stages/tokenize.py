"""Clean, split and tokenise the rows, once; nothing is padded.

    python -m stages.tokenize

reads   data/raw/, models/base/
writes  data/tokenized/: train, validation and test as Parquet, the tokenizer, source.json
        metrics/data.json
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import transformers
from tqdm import tqdm

from finetune.base.command import run
from finetune.base.errors import UserError, one_line
from finetune.base.files import read_json, write_json
from finetune.base.params import Tokenize, read_params
from finetune.rows.stored import TOKENIZED, row_features
from finetune.rows.tokens import encode, load_tokenizer, longest_input, special_tokens, truncate
from finetune.splitting.keys import number, text_key
from finetune.splitting.splits import SPLIT_NAMES, TRAIN, RowKeys, assign_splits

RAW = Path("data/raw")
BASE = Path("models/base")
METRICS = Path("metrics/data.json")
BATCH = 5_000  # rows; at 30 tokens each the lists of a batch take about 10 MB


def raw_files() -> list[tuple[int, Path]]:
    """Files of the source with the split that each stands for; a single table counts as train."""
    if (RAW / "all.parquet").exists():
        return [(TRAIN, RAW / "all.parquet")]
    return [
        (part, RAW / f"{name}.parquet") for part, name in enumerate(SPLIT_NAMES) if (RAW / f"{name}.parquet").exists()
    ]


def raw_batches() -> Iterator[tuple[int, pa.RecordBatch]]:
    """Batches of raw rows in the order of their ids, each with the split of its source."""
    for part, path in raw_files():
        for batch in pq.ParquetFile(path).iter_batches(batch_size=BATCH):
            yield part, batch


def row_keys(ids: dict[str, int]) -> RowKeys:
    """What splitting needs of every raw row: 21 bytes each, so that the texts need not be held."""
    count = sum(pq.read_metadata(path).num_rows for _, path in raw_files())
    keys = RowKeys(*(np.empty(count, kind) for kind in (np.int8, np.int32, np.uint64, np.uint64)))
    start = 0
    for part, batch in raw_batches():
        place = slice(start, start + batch.num_rows)
        texts, labels, groups = (batch.column(name).to_pylist() for name in ("text", "label", "group"))
        keys.source[place] = part
        keys.label[place] = [ids.get(label, -1) for label in labels]
        keys.text[place] = [text_key(text) for text in texts]
        # A row without a group is a group of its own.
        keys.group[place] = [number(group or f"row {row}") for row, group in enumerate(groups, start)]
        start += batch.num_rows
    return keys


def write_splits(split: np.ndarray, labels: np.ndarray, names: list[str], tokenizer, settings: Tokenize) -> np.ndarray:
    """Tokenises the rows of each split into its Parquet file; length of each row before truncation, 0 where left out."""
    features = row_features(names)
    special = special_tokens(tokenizer)
    lengths = np.zeros(len(split), np.int32)
    writers = {
        part: pq.ParquetWriter(TOKENIZED / f"{name}.parquet", features.arrow_schema)
        for part, name in enumerate(SPLIT_NAMES)
    }
    start = 0
    with tqdm(desc="tokenize", total=len(split), unit=" rows", disable=None) as bar:
        for _, batch in raw_batches():
            rows = np.arange(start, start + batch.num_rows)
            kept = rows[split[rows] >= 0]
            chosen = batch.take(pa.array(kept - start))
            whole = encode(tokenizer, chosen.column("text").to_pylist())
            lengths[kept] = [len(ids) for ids in whole]
            table = pa.table(
                [
                    kept,
                    chosen.column("text"),
                    labels[kept].astype(np.int64),
                    chosen.column("group"),
                    [truncate(ids, settings.max_length, settings.truncation, special) for ids in whole],
                    lengths[kept] > settings.max_length,
                ],
                schema=features.arrow_schema,
            )
            for part, writer in writers.items():
                writer.write_table(table.filter(pa.array(split[kept] == part)))
            start += batch.num_rows
            bar.update(batch.num_rows)
    for writer in writers.values():
        writer.close()
    return lengths


def encoder_config():
    """Configuration of the encoder; raises UserError when transformers knows no such model."""
    try:
        return transformers.AutoConfig.from_pretrained(BASE)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{BASE}/config.json is of no model that transformers {transformers.__version__} knows "
            f"({one_line(error)[:100]}…); name another in model.uri"
        ) from None


def check_length(settings: Tokenize, tokenizer):
    """Raises UserError when the encoder cannot take `tokenize.max_length` tokens."""
    longest = longest_input(encoder_config(), tokenizer)
    if longest and settings.max_length > longest:
        raise UserError(
            f"tokenize.max_length must be at most {longest}, all that this encoder takes, found {settings.max_length}"
        )
    special = special_tokens(tokenizer)
    if settings.max_length <= sum(special):
        raise UserError(
            f"tokenize.max_length must be at least {sum(special) + 1}, found {settings.max_length}: special tokens take {sum(special)}"
        )


def main():
    split_settings, settings = read_params("split", "tokenize")
    tokenizer = load_tokenizer(BASE)
    check_length(settings, tokenizer)
    source = read_json(RAW / "source.json")
    names = list(dict.fromkeys(source["labels"].values()))
    keys = row_keys({value: names.index(name) for value, name in source["labels"].items()})
    split, dropped = assign_splits(keys, split_settings, names)

    TOKENIZED.mkdir(parents=True, exist_ok=True)
    lengths = write_splits(split, keys.label, names, tokenizer, settings)
    tokenizer.model_max_length = settings.max_length
    tokenizer.save_pretrained(TOKENIZED / "tokenizer")
    source = {
        "data": source,
        "model": read_json(BASE / "source.json"),
        "truncation": settings.truncation,
        "settings": {"split": split_settings.model_dump(), "tokenize": settings.model_dump()},
    }
    write_json(TOKENIZED / "source.json", source)

    used = lengths[split >= 0]
    metrics = {
        "rows": {name: int((split == part).sum()) for part, name in enumerate(SPLIT_NAMES)},
        "labels": {name: int((keys.label[split >= 0] == label).sum()) for label, name in enumerate(names)},
        "dropped": dropped,
        "tokens": {"mean": used.mean(), "p95": np.percentile(used, 95)},
        "truncated": (used > settings.max_length).mean(),
    }
    write_json(METRICS, metrics)
    left_out = ", ".join(f"{count} {why}" for why, count in dropped.items() if count)
    rows = ", ".join(f"{count} {name} rows" for name, count in metrics["rows"].items())
    print(f"data/tokenized: {rows}" + (f"; dropped {left_out}" if left_out else ""))


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
