"""Score the fine-tuned model on the test rows, with intervals, beside the best baseline.

    python -m stages.evaluate

reads   data/tokenized/test.parquet, models/finetuned/
        data/predictions/baseline.parquet, metrics/baseline.json
writes  data/predictions/test.parquet, data/predictions/mistakes.csv
        metrics/test.json, metrics/plots/evaluate/
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from finetune.curves import confidence_bins, expected_calibration_error, one_vs_rest, precision_recall, roc
from finetune.encoder import logits, probabilities, trained_classifier
from finetune.errors import UserError, run
from finetune.files import write_csv, write_json
from finetune.intervals import paired_gain
from finetune.params import read_params
from finetune.resume import clear
from finetune.rows import label_names, read_rows
from finetune.scores import score_block
from finetune.tokens import load_tokenizer

FINETUNED = Path("models/finetuned")
BASELINE = Path("data/predictions/baseline.parquet")
BASELINE_METRICS = Path("metrics/baseline.json")
PREDICTIONS = Path("data/predictions/test.parquet")
MISTAKES = Path("data/predictions/mistakes.csv")
METRICS = Path("metrics/test.json")
PLOTS = Path("metrics/plots/evaluate")


def test_metrics(
    labels: np.ndarray, shares: np.ndarray, best_baseline: np.ndarray, names: list[str], bins: np.ndarray
) -> dict:
    """Score block, calibration and the gain over the best baseline; `shares` and `best_baseline` are probabilities."""
    predicted = shares.argmax(1)
    classes = range(len(names))
    return {
        **score_block(labels, predicted, names),
        "gain": paired_gain(predicted == labels, best_baseline.argmax(1) == labels),
        "log_loss": log_loss(labels, shares, labels=classes),
        # Mean squared distance from the truth, over two so that it lies between 0 and 1 for any number of classes.
        "brier": brier_score_loss(labels, shares, labels=classes, scale_by_half=True),
        "ece": expected_calibration_error(bins),
        "roc_auc": np.mean([roc_auc_score(truth, score) for truth, score in one_vs_rest(labels, shares)]),
    }


def mistake_rows(rows: Dataset, shares: np.ndarray, count: int) -> list[list]:
    """Wrong rows, the most confident first: row id, confidence, true label, predicted label, text."""
    names, labels, predicted = label_names(rows), np.asarray(rows["label"][:]), shares.argmax(1)
    confidence = shares.max(1)
    wrong = np.flatnonzero(predicted != labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:count]
    ids, texts = rows["row"][:], rows["text"][:]
    return [
        [ids[place], confidence[place], names[labels[place]], names[predicted[place]], texts[place]] for place in wrong
    ]


def write_plots(labels: np.ndarray, shares: np.ndarray, names: list[str], bins: np.ndarray, accuracy: dict):
    """Data of the plots that dvc.yaml declares."""
    pairs = sorted(zip(labels, shares.argmax(1), strict=True))  # sorted, they take hardly any room in Git
    write_csv(
        PLOTS / "confusion.csv", ["actual", "predicted"], ([names[actual], names[found]] for actual, found in pairs)
    )
    write_csv(PLOTS / "roc.csv", ["false_positive_rate", "fine-tuned"], roc(labels, shares))
    write_csv(PLOTS / "precision_recall.csv", ["recall", "fine-tuned"], precision_recall(labels, shares))
    filled = bins[bins[:, 2:].sum(1) > 0]
    write_csv(
        PLOTS / "reliability.csv",
        ["confidence", "accuracy", "calibrated"],
        ([mean, right, mean] for mean, right, *_ in filled),
    )
    middles = (np.arange(len(bins)) + 0.5) / len(bins)
    write_csv(
        PLOTS / "confidence.csv",
        ["confidence", "right", "wrong"],
        np.column_stack([middles, bins[:, 2:]])[middles > 1 / len(names)],
    )
    write_csv(
        PLOTS / "accuracy.csv",
        ["classifier", "accuracy", "low", "high"],
        [["fine-tuned", accuracy["accuracy"], *accuracy["interval"].values()]],
    )


def main():
    settings = read_params("evaluate")
    clear()  # the checkpoints: DVC has tracked the model by now
    test = read_rows("test")
    names, labels = label_names(test), np.asarray(test["label"][:])
    baseline = pq.read_table(BASELINE)
    if baseline.column("row").to_pylist() != test["row"][:]:
        raise UserError(
            f"{BASELINE} is about other rows than data/tokenized/test.parquet; run `dvc repro baseline_eval`"
        )
    best = json.loads(BASELINE_METRICS.read_text(encoding="utf-8"))["best"]

    tokenizer = load_tokenizer(FINETUNED)
    found = logits(trained_classifier(FINETUNED), test["input_ids"][:], tokenizer.pad_token_id, desc="test")
    shares = probabilities(found)
    bins = confidence_bins(labels, shares, settings.bins)
    metrics = test_metrics(labels, shares, np.array(baseline.column(best).to_pylist()), names, bins)

    PREDICTIONS.parent.mkdir(parents=True, exist_ok=True)
    columns = {"row": test["row"][:], "label": labels, "predicted": shares.argmax(1), "logits": pa.array(list(found))}
    pq.write_table(pa.table(columns), PREDICTIONS)
    write_csv(
        MISTAKES, ["row", "confidence", "label", "predicted", "text"], mistake_rows(test, shares, settings.mistakes)
    )
    write_json(METRICS, metrics)
    write_plots(labels, shares, names, bins, metrics)
    gain = metrics["gain"]
    print(
        f"test accuracy {metrics['accuracy']:.3f} [{metrics['interval']['low']:.3f}, {metrics['interval']['high']:.3f}], "
        f"{100 * gain['value']:+.1f} points over {best} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}], p {gain['p_value']:.2g}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main))
