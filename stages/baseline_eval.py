"""Score the alternatives to fine-tuning on the same test rows.

    python -m stages.baseline_eval

reads   data/tokenized/, models/base/
writes  data/predictions/baseline.parquet
        metrics/baseline.json, metrics/detail/baseline_eval/, metrics/plots/baseline_eval/
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from finetune.base.command import run
from finetune.base.errors import existing
from finetune.base.files import write_csv
from finetune.base.metric_files import write_metrics
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.baselines.label_sets import score_label_sets
from finetune.baselines.one_label import score_one_label
from finetune.baselines.scored import Scored
from finetune.rows.stored import TOKENIZED, TRAIN_SAMPLE, column, has_label_sets, read_rows, read_sample
from finetune.rows.tokens import load_tokenizer
from finetune.scoring.curves import precision_recall, roc

BASE = Path("models/base")
PREDICTIONS = Path("data/predictions/baseline.parquet")
PLOTS = Path("metrics/plots/baseline_eval")
LEARN = {"tfidf", "embedding", "few_shot"}  # from texts or features of training rows


def write_plots(scored: Scored):
    """The curves of the best baseline, and the accuracy of each."""
    write_csv(PLOTS / "roc.csv", ["false_positive_rate", "baseline"], roc(scored.truth, scored.probabilities))
    write_csv(
        PLOTS / "precision_recall.csv", ["recall", "baseline"], precision_recall(scored.truth, scored.probabilities)
    )
    bars = [
        [name, block["accuracy"], block["interval"]["low"], block["interval"]["high"]]
        for name, block in scored.metrics.items()
    ]
    write_csv(PLOTS / "accuracy.csv", ["classifier", "accuracy", "low", "high"], bars)


def main():
    settings = read_params("baseline")
    existing(TOKENIZED)
    train = read_rows("train", ["label"])
    splits = {"train": read_sample("train", TRAIN_SAMPLE, settings.seed)}
    splits |= {name: read_rows(name) for name in ("validation", "test")}
    score = score_label_sets if has_label_sets(train) else score_one_label
    scored = score(BASE, train, splits, load_tokenizer(TOKENIZED / "tokenizer"), settings)

    PREDICTIONS.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: column(splits["test"], name) for name in ("row", "label")}
    columns |= {name: pa.array(list(rows)) for name, rows in scored.columns.items()}
    pq.write_table(pa.table(columns), PREDICTIONS)
    learnt = len(splits["train"])
    sampled = learnt < len(train) and not LEARN.isdisjoint(scored.metrics)
    notes = {"train_rows": learnt} if sampled else {}
    notes |= {"skipped": scored.skipped} if scored.skipped else {}
    write_metrics("baseline", scored.metrics | {"best": scored.best} | notes)
    write_plots(scored)
    say("baseline accuracy: " + ", ".join(f"{name} {block['accuracy']:.3f}" for name, block in scored.metrics.items()))
    for name, reason in scored.skipped.items():
        say(f"skipped {name}: {reason}")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
