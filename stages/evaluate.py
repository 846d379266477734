"""Score the fine-tuned model on the test rows, with intervals, against the best baseline; look where it fails.

    python -m stages.evaluate

reads   data/tokenized/, models/finetuned/
        data/predictions/baseline.parquet, metrics/baseline.json
writes  data/predictions/: test.parquet, mistakes.csv, behaviour.csv, near_duplicates.csv, suspicious_labels.csv
        metrics/test.json, metrics/detail/evaluate/: test, slices, behaviour, checks; metrics/plots/evaluate/
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from finetune.base.command import run
from finetune.base.errors import UserError, existing
from finetune.base.files import read_json
from finetune.base.metric_files import write_metrics
from finetune.base.params import Evaluate, read_params
from finetune.base.terminal import say
from finetune.encoder.models import trained_classifier
from finetune.evaluation.evaluated import Evaluated, score
from finetune.evaluation.label_sets import score_sets, write_set_plots
from finetune.evaluation.plots import write_accuracy, write_plots, write_slices
from finetune.evaluation.review_lists import COLUMNS
from finetune.evaluation.spreadsheet import write_spreadsheet
from finetune.rows.form import recorded_form
from finetune.rows.stored import (
    TOKENIZED,
    TRAIN_SAMPLE,
    class_ids,
    column,
    count_stored,
    has_label_sets,
    label_matrix,
    label_names,
    read_rows,
    read_sample,
)
from finetune.rows.tokens import load_tokenizer
from finetune.scoring.intervals import SEED
from finetune.training.checkpoints import clear

FINETUNED = Path("models/finetuned")
BASELINE = Path("data/predictions/baseline.parquet")
BASELINE_METRICS = Path("metrics/baseline.json")
PREDICTIONS = Path("data/predictions")
PLOTS = Path("metrics/plots/evaluate")


def best_baseline(test: Dataset) -> tuple[str, np.ndarray]:
    """Name of the best baseline and its probabilities of the test rows; raises UserError when they are of other rows."""
    best = read_json(BASELINE_METRICS)["best"]
    predictions = pq.read_table(BASELINE)
    if not predictions.column("row").equals(column(test, "row")):
        raise UserError(
            f"{BASELINE} is about other rows than data/tokenized/test.parquet; run `dvc repro baseline_eval`"
        )
    return best, np.array(predictions.column(best).to_pylist())


def write_measured(columns: dict, evaluated: Evaluated):
    """Writes the predictions (`columns`), the lists for people, the metrics, and the plots of accuracy and slices."""
    PREDICTIONS.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), PREDICTIONS / "test.parquet")
    for name, rows in evaluated.tables.items():
        write_spreadsheet(PREDICTIONS / f"{name}.csv", COLUMNS[name], rows)
    for name, content in evaluated.metrics.items():
        write_metrics(name, content)
    write_accuracy(PLOTS, evaluated.metrics["test"])
    write_slices(PLOTS, evaluated.slices)


def evaluate_sets(splits: dict[str, Dataset], tokenizer, model, settings: Evaluate):
    """The same files for several labels per text."""
    test = splits["test"]
    truth = label_matrix(test)
    best, _ = best_baseline(test)
    stored = pq.read_table(BASELINE)
    names = [name.removesuffix(".answers") for name in stored.column_names if name.endswith(".answers")]
    baselines = {
        name: tuple(np.array(stored.column(key).to_pylist()) for key in (name, f"{name}.answers")) for name in names
    }
    evaluated, answers = score_sets(model, tokenizer, splits, baselines, best, settings)
    columns = {
        "row": column(test, "row"),
        "label": column(test, "label").cast(pa.list_(pa.int64())),
        "predicted": pa.array([np.flatnonzero(row) for row in answers], pa.list_(pa.int64())),
        "logits": pa.array(list(evaluated.logits)),
    }
    write_measured(columns, evaluated)
    write_set_plots(PLOTS, truth, evaluated, settings.bins)
    scores, gain = evaluated.metrics["test"], evaluated.metrics["test"]["gains"][best]["micro_f1"]
    say(
        f"test micro F1 {scores['micro_f1']:.3f}, macro F1 {scores['f1']:.3f}, exactly right {scores['accuracy']:.3f}; micro F1 "
        f"{100 * gain['value']:+.1f} points over {best} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"
    )


def rule_line(rule: dict) -> str:
    """The rule of a decision, and what it gives on validation and on test, on one line."""
    shares = {
        split: ", ".join(f"{name} {entry['value']:.3f}" for name, entry in rule[split].items() if has_value(entry))
        for split in ("validation", "test")
    }
    if "threshold" in rule:
        named = f"{rule['threshold']['label']} from a probability of {rule['threshold']['probability']:.4f} on"
    else:
        named = f"answers from a probability of {rule['min_probability']:.4f} on"
    return f"{named}; validation {shares['validation']}; test {shares['test']}"


def has_value(entry) -> bool:
    """Whether an entry is a share of some rows."""
    return isinstance(entry, dict) and entry["value"] is not None


def main():
    settings, decide = read_params("evaluate", "decide")
    existing(TOKENIZED)
    existing(FINETUNED)  # checked before `clear`: a missing model could still be made from its checkpoints
    clear()  # DVC has tracked the model by now
    splits = {"train": read_sample("train", TRAIN_SAMPLE, SEED)}
    splits |= {name: read_rows(name) for name in ("validation", "test")}
    test = splits["test"]
    if has_label_sets(test):
        return evaluate_sets(splits, load_tokenizer(FINETUNED), trained_classifier(FINETUNED), settings)
    labels = class_ids(test)
    best, baseline = best_baseline(test)
    tokenizer, model = load_tokenizer(FINETUNED), trained_classifier(FINETUNED)
    form = recorded_form(tokenizer, read_json(TOKENIZED / "source.json"))
    sampled = len(splits["train"]) < count_stored("train")
    evaluated = score(model, tokenizer, splits, form, baseline, settings, decide)

    predicted = evaluated.probabilities.argmax(1)
    columns = {
        "row": column(test, "row"),
        "label": labels,
        "predicted": predicted,
        "logits": pa.array(list(evaluated.logits)),
    }
    if sampled:  # the checks look at a sample of the training rows where there are more
        evaluated.metrics["checks"]["train_rows"] = len(splits["train"])
    write_measured(columns, evaluated)
    write_plots(PLOTS, labels, evaluated.probabilities, evaluated.calibrated, label_names(test), settings.bins)
    accuracy, interval, gain = (evaluated.metrics["test"][name] for name in ("accuracy", "interval", "gain"))
    say(
        f"test accuracy {accuracy:.3f} [{interval['low']:.3f}, {interval['high']:.3f}], "
        f"{100 * gain['value']:+.1f} points over {best} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}], p {gain['p_value']:.2g}"
    )
    if rule := evaluated.metrics["test"].get("decision"):
        say(f"decision: {rule_line(rule)}")
    return None


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
