"""Fine-tune the pretrained encoder on the training rows; keep the epoch that is best on validation.

    python -m stages.train

reads   data/tokenized/train.parquet, validation.parquet and tokenizer, models/base/
writes  models/finetuned/
        metrics/train.json, metrics/plots/train/
"""

import time
from pathlib import Path

from dvclive import Live

from finetune.encoder import fresh_classifier, save
from finetune.errors import run
from finetune.files import write_json
from finetune.params import read_params
from finetune.precision import chosen_precision
from finetune.rows import TOKENIZED, label_names, read_rows
from finetune.tokens import load_tokenizer
from finetune.training import fine_tune

BASE = Path("models/base")
FINETUNED = Path("models/finetuned")
METRICS = Path("metrics/train.json")
PLOTS = Path("metrics/plots/train")


def main():
    settings = read_params("train")
    train, validation = read_rows("train"), read_rows("validation")
    tokenizer = load_tokenizer(TOKENIZED / "tokenizer")
    model = fresh_classifier(BASE, label_names(train), settings.seed)
    precision = chosen_precision(settings.precision)
    print(f"train: {len(train)} rows, {settings.epochs} epochs, {precision}")

    started = time.perf_counter()
    # DVCLive must leave dvc.yaml alone and make no experiment of its own: `dvc exp run` does both.
    with Live(str(PLOTS), dvcyaml=None, save_dvc_exp=False, report=None, monitor_system=False) as live:
        best = fine_tune(model, tokenizer, train, validation, settings, precision, live)
    spent = time.perf_counter() - started
    print(f"train: {len(train) * settings.epochs / spent:.0f} rows a second, best epoch {best.epoch}")

    save(model, tokenizer, FINETUNED)
    write_json(
        METRICS,
        {
            "validation": best.scores,
            "best_epoch": best.epoch,
            "epochs": settings.epochs,
            "steps": -(-len(train) // settings.batch_size) * settings.epochs,
            "parameters": {
                "total": sum(weights.numel() for weights in model.parameters()),
                "trained": sum(weights.numel() for weights in model.parameters() if weights.requires_grad),
            },
            "precision": precision,
        },
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
