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
from datasets import Dataset

from finetune.base.command import run
from finetune.base.errors import existing
from finetune.base.files import write_csv
from finetune.base.metric_files import write_metrics
from finetune.base.params import Baseline, read_params
from finetune.base.terminal import say
from finetune.baselines.frozen import best_draw, few_shot_block
from finetune.baselines.label_sets import set_baselines
from finetune.baselines.regression import majority
from finetune.baselines.tfidf import tfidf
from finetune.baselines.with_encoder import encoder_baselines
from finetune.rows.stored import (
    TOKENIZED,
    TRAIN_SAMPLE,
    class_ids,
    column,
    has_label_sets,
    label_matrix,
    label_names,
    read_rows,
    read_sample,
)
from finetune.rows.tokens import load_tokenizer
from finetune.scoring.curves import precision_recall, roc
from finetune.scoring.label_sets import resampled_sets, set_block, set_intervals
from finetune.scoring.scores import score_block

BASE = Path("models/base")
PREDICTIONS = Path("data/predictions/baseline.parquet")
PLOTS = Path("metrics/plots/baseline_eval")
LEARN = ("tfidf", "embedding", "few_shot")  # from texts or features of training rows


def eval_sets(train: Dataset, splits: dict[str, Dataset], settings: Baseline):
    """The same files for several labels per text; answers stand beside the probabilities."""
    test = splits["test"]
    names, truth = label_names(test), label_matrix(test)
    pad_id = load_tokenizer(TOKENIZED / "tokenizer").pad_token_id
    answered, skipped = set_baselines(BASE, splits, label_matrix(train), pad_id, settings.skip)
    metrics = {name: set_block(truth, of.answers, of.probabilities, names) for name, of in answered.items()}
    for name, of in answered.items():
        intervals = set_intervals(resampled_sets(truth, of.answers, of.probabilities), metrics[name]["interval"])
        metrics[name]["intervals"] = intervals
    best = max(metrics, key=lambda name: metrics[name]["accuracy"])
    PREDICTIONS.parent.mkdir(parents=True, exist_ok=True)
    columns = {"row": column(test, "row"), "label": column(test, "label").cast(pa.list_(pa.int64()))}
    for name, of in answered.items():
        columns[name] = pa.array(list(of.probabilities.astype(np.float32)))
        columns[f"{name}.answers"] = pa.array(list(of.answers))
    pq.write_table(pa.table(columns), PREDICTIONS)
    notes = {"train_rows": len(splits["train"])} if len(splits["train"]) < len(train) else {}
    write_metrics("baseline", metrics | {"best": best} | notes | {"skipped": skipped})
    write_curves(truth, answered[best].probabilities, metrics, skipped)


def main():
    settings = read_params("baseline")
    existing(TOKENIZED)
    train = read_rows("train", ["label"])
    splits = {"train": read_sample("train", TRAIN_SAMPLE, settings.seed)}
    splits |= {name: read_rows(name) for name in ("validation", "test")}
    if has_label_sets(train):
        return eval_sets(train, splits, settings)
    train_labels = class_ids(train)
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
    return write_curves(labels, probabilities[best], metrics, skipped)


def write_curves(labels: np.ndarray, best: np.ndarray, metrics: dict[str, dict], skipped: dict[str, str]):
    """The curves of the best baseline, the accuracy of each, and a line about them."""
    write_csv(PLOTS / "roc.csv", ["false_positive_rate", "baseline"], roc(labels, best))
    write_csv(PLOTS / "precision_recall.csv", ["recall", "baseline"], precision_recall(labels, best))
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
