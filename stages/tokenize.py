"""Clean, split and tokenise the rows once, without padding.

    python -m stages.tokenize

reads   data/raw/, models/base/
writes  data/tokenized/: train, validation and test as Parquet, the tokenizer, source.json
        metrics/data.json, metrics/detail/tokenize/
"""

from pathlib import Path

import numpy as np

from finetune.base.command import run
from finetune.base.files import read_json, write_json
from finetune.base.metric_files import write_metrics
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.rows.pairs import pair_of, reading
from finetune.rows.stored import TOKENIZED, row_features
from finetune.rows.tokenizer_fit import SAMPLE, misfit, tokenizer_fit
from finetune.rows.tokens import check_length, ensure_padding, load_config, load_tokenizer, special_tokens
from finetune.rows.windows import check_windows
from finetune.splitting.column_counts import column_counts, column_lines
from finetune.splitting.keys import row_keys
from finetune.splitting.raw import count_rows, raw_batches, raw_texts
from finetune.splitting.splits import evenly_spaced, split_lines
from finetune.splitting.stored_splits import write_splits
from finetune.splitting.task import task_of

RAW = Path("data/raw")
BASE = Path("models/base")


def main():
    split_settings, settings = read_params("split", "tokenize")
    tokenizer, config = load_tokenizer(BASE), load_config(BASE)
    ensure_padding(tokenizer, config)
    raw = read_json(RAW / "source.json")
    columns = raw.get("columns")
    pair = pair_of(tokenizer, config) if columns and len(columns) == 2 else None
    check_length(settings.max_length, tokenizer, config, pair)
    check_windows(settings.overlap, settings.max_length, special_tokens(tokenizer), pair)
    task = task_of(raw)
    keys = row_keys(raw_batches(RAW), count_rows(RAW), task.ids)
    split, dropped = task.splits(keys, split_settings)

    TOKENIZED.mkdir(parents=True, exist_ok=True)
    features = row_features(task.names, task.several, bool(columns), settings.overlap is not None)
    lengths = write_splits(RAW, split, task.stored(keys.label), features, tokenizer, config, settings, pair)
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
    fit = tokenizer_fit(raw_texts(RAW, evenly_spaced(split, SAMPLE)), tokenizer)
    metrics = task.counts(split, keys.label) | {
        "dropped": dropped,
        "tokens": {"mean": used.mean(), "p95": np.percentile(used, 95), **fit},
        "truncated": 0.0 if settings.overlap is not None else (used > settings.max_length).mean(),
    }
    lines = split_lines(metrics["rows"], dropped, split_settings)
    if columns:
        metrics["columns"] = column_counts(columns, TOKENIZED)
        lines += column_lines(metrics["columns"], metrics["rows"]["test"], reading(pair))
    if warning := misfit(metrics["tokens"]):
        lines.append(f"warning: {warning}")
    write_metrics("data", metrics)
    for line in lines:
        say(line)


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
