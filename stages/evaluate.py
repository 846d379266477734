"""Score the fine-tuned model on the test rows, with intervals, against the best baseline; look where it fails.

    python -m stages.evaluate

reads   data/tokenized/, models/finetuned/
        data/predictions/baseline.parquet, metrics/baseline.json
writes  data/predictions/: test.parquet, mistakes.csv, behaviour.csv, near_duplicates.csv, suspicious_labels.csv
        metrics/test.json, metrics/detail/evaluate/: test, slices, behaviour, checks; metrics/plots/evaluate/
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from finetune.base.command import run
from finetune.base.errors import existing
from finetune.base.files import read_json
from finetune.base.metric_files import write_metrics
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.encoder.models import trained_classifier
from finetune.evaluation.evaluated import Evaluated, stored_baselines
from finetune.evaluation.plots import write_accuracy, write_slices
from finetune.evaluation.review_lists import COLUMNS
from finetune.evaluation.spreadsheet import write_spreadsheet
from finetune.evaluation.task import task_of
from finetune.rows.form import recorded_form
from finetune.rows.stored import TOKENIZED, TRAIN_SAMPLE, column, count_stored, read_rows, read_sample
from finetune.rows.tokens import load_tokenizer
from finetune.scoring.intervals import SEED
from finetune.training.checkpoints import clear

FINETUNED = Path("models/finetuned")
BASELINE = Path("data/predictions/baseline.parquet")
BASELINE_METRICS = Path("metrics/baseline.json")
PREDICTIONS = Path("data/predictions")
PLOTS = Path("metrics/plots/evaluate")


def write_measured(test: Dataset, evaluated: Evaluated):
    """Writes the predictions, the lists for people, the metrics, and the plots of accuracy and slices."""
    PREDICTIONS.mkdir(parents=True, exist_ok=True)
    columns = {name: column(test, name) for name in ("row", "label")}
    columns |= {"predicted": evaluated.predicted, "logits": pa.array(list(evaluated.logits))}
    pq.write_table(pa.table(columns), PREDICTIONS / "test.parquet")
    for name, rows in evaluated.tables.items():
        write_spreadsheet(PREDICTIONS / f"{name}.csv", COLUMNS[name], rows)
    for name, content in evaluated.metrics.items():
        write_metrics(name, content)
    write_accuracy(PLOTS, evaluated.metrics["test"])
    write_slices(PLOTS, evaluated.slices)


def main():
    settings, decide = read_params("evaluate", "decide")
    existing(TOKENIZED)
    existing(FINETUNED)  # checked before `clear`: a missing model could still be made from its checkpoints
    clear()  # DVC has tracked the model by now
    splits = {"train": read_sample("train", TRAIN_SAMPLE, SEED)}
    splits |= {name: read_rows(name) for name in ("validation", "test")}
    test, task = splits["test"], task_of(splits["test"])
    best = read_json(BASELINE_METRICS)["best"]
    baselines = stored_baselines(BASELINE, best, test)
    tokenizer, model = load_tokenizer(FINETUNED), trained_classifier(FINETUNED)
    form = recorded_form(tokenizer, read_json(TOKENIZED / "source.json"))
    evaluated = task.score(model, tokenizer, splits, form, baselines, settings, decide)

    if len(splits["train"]) < count_stored("train"):  # the checks look at a sample of the training rows
        evaluated.metrics["checks"]["train_rows"] = len(splits["train"])
    write_measured(test, evaluated)
    task.write_plots(PLOTS, test, evaluated, settings.bins)
    for line in task.lines(evaluated.metrics["test"], best):
        say(line)


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
