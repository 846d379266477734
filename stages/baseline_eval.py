"""Score the alternatives to fine-tuning on the same test rows.

    python -m stages.baseline_eval

reads   data/tokenized/, models/base/
writes  data/predictions/baseline.parquet
        metrics/baseline.json, metrics/detail/baseline_eval/, metrics/plots/baseline_eval/
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from finetune.base.command import run
from finetune.base.errors import existing
from finetune.base.files import write_csv
from finetune.base.metric_files import write_metrics
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.baselines.frozen import best_draw, few_shot_block
from finetune.baselines.regression import majority
from finetune.baselines.tfidf import tfidf
from finetune.baselines.with_encoder import encoder_baselines
from finetune.rows.stored import TOKENIZED, TRAIN_SAMPLE, class_ids, column, label_names, read_rows, read_sample
from finetune.rows.tokens import load_tokenizer
from finetune.scoring.curves import precision_recall, roc
from finetune.scoring.scores import score_block

BASE = Path("models/base")
PREDICTIONS = Path("data/predictions/baseline.parquet")
PLOTS = Path("metrics/plots/baseline_eval")
LEARN = ("tfidf", "embedding", "few_shot")  # from texts or features of training rows


def main():
    settings = read_params("baseline")
    existing(TOKENIZED)
    train_labels = class_ids(read_rows("train", ["label"]))
    splits = {"train": read_sample("train", TRAIN_SAMPLE, settings.seed)}
    splits |= {name: read_rows(name) for name in ("validation", "test")}
    test = splits["test"]
    class_names, labels = label_names(test), class_ids(test)
    with_encoder, reasons = encoder_baselines(BASE, splits, load_tokenizer(TOKENIZED / "tokenizer"), settings)
    probabilities = {"majority": majority(train_labels, len(test), len(class_names))}
    if "tfidf" not in settings.skip:
        probabilities["tfidf"] = tfidf(*splits.values())
    probabilities |= with_encoder
    learnt = len(splits["train"])
    sampled = learnt < len(train_labels) and not probabilities.keys().isdisjoint(LEARN)
    notes = {"train_rows": learnt} if sampled else {}
    skipped = dict.fromkeys(settings.skip, "baseline.skip names it") | reasons

    metrics = {}
    for name, rows in probabilities.items():
        if name == "few_shot":
            metrics[name] = few_shot_block(labels, rows, class_names)
            # The rows of the best draw stand for few_shot, so that a gain over them is a gain over every draw.
            probabilities[name] = best_draw(labels, rows)
        else:
            metrics[name] = score_block(labels, rows.argmax(1), class_names)
    best = max(metrics, key=lambda name: metrics[name]["accuracy"])

    PREDICTIONS.parent.mkdir(parents=True, exist_ok=True)
    columns = {"row": column(test, "row"), "label": labels} | {
        name: pa.array(list(rows.astype(np.float32))) for name, rows in probabilities.items()
    }
    pq.write_table(pa.table(columns), PREDICTIONS)
    notes |= {"skipped": skipped} if skipped else {}
    write_metrics("baseline", metrics | {"best": best} | notes)
    write_csv(PLOTS / "roc.csv", ["false_positive_rate", "baseline"], roc(labels, probabilities[best]))
    write_csv(PLOTS / "precision_recall.csv", ["recall", "baseline"], precision_recall(labels, probabilities[best]))
    bars = [
        [name, block["accuracy"], block["interval"]["low"], block["interval"]["high"]]
        for name, block in metrics.items()
    ]
    write_csv(PLOTS / "accuracy.csv", ["classifier", "accuracy", "low", "high"], bars)
    say("baseline accuracy: " + ", ".join(f"{name} {block['accuracy']:.3f}" for name, block in metrics.items()))
    for name, reason in skipped.items():
        say(f"skipped {name}: {reason}")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
