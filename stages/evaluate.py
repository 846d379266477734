"""Score the fine-tuned model on the test rows, with intervals, beside the best baseline; look where it fails.

    python -m stages.evaluate

reads   data/tokenized/, models/finetuned/
        data/predictions/baseline.parquet, metrics/baseline.json
writes  data/predictions/: test.parquet, mistakes.csv, behaviour.csv, near_duplicates.csv, suspicious_labels.csv
        metrics/test.json, slices.json, behaviour.json, checks.json, metrics/plots/evaluate/
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset
from scipy.special import softmax

from finetune.base.command import run
from finetune.base.errors import UserError, existing
from finetune.base.files import read_json, write_csv, write_json
from finetune.base.params import Behaviour, read_params
from finetune.encoder.models import trained_classifier
from finetune.encoder.prediction import logits
from finetune.evaluation.behaviour import all_edits, failed_rows, failure_entry
from finetune.evaluation.calibration import fitted_temperature
from finetune.evaluation.headline import headline_scores
from finetune.evaluation.near_duplicates import held_out_probabilities
from finetune.evaluation.plots import write_plots
from finetune.evaluation.review_lists import doubtful_rows, duplicate_rows, mistake_rows
from finetune.evaluation.slices import slices_of, worst_slice
from finetune.rows.stored import TOKENIZED, label_names, read_rows
from finetune.rows.tokens import encode, load_tokenizer, special_tokens, truncate
from finetune.training.checkpoints import clear

FINETUNED = Path("models/finetuned")
BASELINE = Path("data/predictions/baseline.parquet")
BASELINE_METRICS = Path("metrics/baseline.json")
PREDICTIONS = Path("data/predictions")
METRICS = Path("metrics")
PLOTS = Path("metrics/plots/evaluate")


def behaviour_of(model, tokenizer, rows: Dataset, predicted: np.ndarray, settings: Behaviour) -> tuple[dict, list]:
    """Failure rates by edit; and of each failed row the edit, row id, labels and texts before and after."""
    names, texts, ids = label_names(rows), rows["text"][:], rows["row"][:]
    right = predicted == np.asarray(rows["label"][:])
    flips = settings.negation_flips and len(names) == 2
    edits = all_edits(texts, right, settings.rows, settings.neutral, flips)
    mode = read_json(TOKENIZED / "source.json")["truncation"]
    special, length, before = special_tokens(tokenizer), tokenizer.model_max_length, rows["input_ids"][:]
    rates, failures = {}, []
    for edit, edited in edits.items():
        places = np.array(list(edited))
        tokens = [truncate(one, length, mode, special) for one in encode(tokenizer, list(edited.values()))]
        after = predicted[places]
        # To some models some edits are none: an uncased one sees the same tokens.
        seen = [row for row, place in enumerate(places.tolist()) if tokens[row] != before[place]]
        if seen:
            edited_tokens = [tokens[row] for row in seen]
            after[seen] = logits(model, edited_tokens, tokenizer.pad_token_id, desc=edit).argmax(1)
        failed = failed_rows(edit, predicted[places], after)
        rates[edit] = failure_entry(failed)
        failures += [
            [edit, ids[place], names[predicted[place]], names[label], texts[place], edited[place]]
            for place, label in zip(places[failed].tolist(), after[failed], strict=True)
        ]
    return rates, failures


def main():
    settings = read_params("evaluate")
    existing(TOKENIZED)
    existing(FINETUNED)  # before its checkpoints go, from which it could still be made
    clear()  # DVC has tracked the model by now
    splits = {name: read_rows(name) for name in ("train", "validation", "test")}
    train, validation, test = splits.values()
    scored = {"validation": validation, "test": test}
    names, labels = label_names(test), np.asarray(test["label"][:])
    baseline = pq.read_table(BASELINE)
    if baseline.column("row").to_pylist() != test["row"][:]:
        raise UserError(
            f"{BASELINE} is about other rows than data/tokenized/test.parquet; run `dvc repro baseline_eval`"
        )
    best = read_json(BASELINE_METRICS)["best"]

    tokenizer, model = load_tokenizer(FINETUNED), trained_classifier(FINETUNED)
    found = {
        name: logits(model, rows["input_ids"][:], tokenizer.pad_token_id, desc=name) for name, rows in scored.items()
    }
    temperature = fitted_temperature(np.asarray(validation["label"][:]), found["validation"])
    shares = softmax(found["test"].astype(np.float64), axis=-1)
    scaled = {name: softmax((rows / temperature).astype(np.float64), axis=-1) for name, rows in found.items()}
    predicted = shares.argmax(1)
    metrics = headline_scores(
        labels, found["test"], temperature, np.array(baseline.column(best).to_pylist()), names, settings.bins
    )
    slices = slices_of(test, predicted == labels, settings.slices)
    rates, failures = behaviour_of(model, tokenizer, test, predicted, settings.behaviour)
    # The model was trained on the rows of train, so that it believes their labels, wrong ones included.
    held_out = held_out_probabilities(train["text"][:], np.asarray(train["label"][:]), train["group"][:], len(names))
    doubtful, doubtful_list = doubtful_rows(splits, {"train": held_out, **scaled})
    duplicates, duplicate_list = duplicate_rows(splits, settings.checks.similarity)

    PREDICTIONS.mkdir(parents=True, exist_ok=True)
    columns = {"row": test["row"][:], "label": labels, "predicted": predicted, "logits": pa.array(list(found["test"]))}
    pq.write_table(pa.table(columns), PREDICTIONS / "test.parquet")
    tables = {
        "mistakes": (
            "row confidence label predicted text",
            mistake_rows(test, shares, settings.mistakes),
        ),
        "behaviour": ("edit row label_before label_after before after", failures),
        "near_duplicates": ("split row other_split other_row similarity text other_text", duplicate_list),
        "suspicious_labels": ("split row label suggested confidence text", doubtful_list),
    }
    for name, (header, rows) in tables.items():
        write_csv(PREDICTIONS / f"{name}.csv", header.split(), rows)
    write_json(METRICS / "test.json", metrics)
    worst = worst_slice(slices, settings.slices.min_rows)
    listed = {kind: entries for kind, entries in slices.items() if kind != "group"}
    write_json(METRICS / "slices.json", listed | ({"worst": worst} if worst else {}))
    write_json(METRICS / "behaviour.json", rates)
    write_json(
        METRICS / "checks.json",
        {
            "near_duplicates": duplicates,
            "suspicious_labels": doubtful,
        },
    )
    write_plots(PLOTS, labels, shares, scaled["test"], names, settings.bins)
    write_csv(
        PLOTS / "accuracy.csv",
        ["classifier", "accuracy", "low", "high"],
        [["fine-tuned", metrics["accuracy"], *metrics["interval"].values()]],
    )
    write_csv(
        PLOTS / "slices.csv",
        ["kind", "slice", "rows", "accuracy", "low", "high"],
        (
            [kind, name, entry["rows"], entry["accuracy"], *entry["interval"].values()]
            for kind, entries in slices.items()
            for name, entry in entries.items()
        ),
    )
    gain = metrics["gain"]
    print(
        f"test accuracy {metrics['accuracy']:.3f} [{metrics['interval']['low']:.3f}, {metrics['interval']['high']:.3f}], "
        f"{100 * gain['value']:+.1f} points over {best} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}], p {gain['p_value']:.2g}"
    )


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
