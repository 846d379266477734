"""One label per text: scores of the fine-tuned model, slices, behaviour, and the rows to review."""

from pathlib import Path

import numpy as np
import pyarrow as pa
from datasets import Dataset

from finetune.base.params_results import Decide, Evaluate
from finetune.encoder.prediction import logits
from finetune.evaluation.behaviour import AnswerKind, behaviour_of
from finetune.evaluation.calibration import fit_temperature, scaled_probabilities
from finetune.evaluation.decision_rules import decision, rule_line
from finetune.evaluation.evaluated import Baselines, Evaluated
from finetune.evaluation.headline import headline_scores, rows_digest
from finetune.evaluation.plots import write_plots
from finetune.evaluation.review_lists import doubtful_rows, duplicate_rows, mistake_rows
from finetune.evaluation.slices import slice_metrics, slices_of
from finetune.evaluation.suspicious_labels import held_out_probabilities
from finetune.rows.form import Form
from finetune.rows.stored import class_ids, label_names, token_ids


def score_one_label(
    model,
    tokenizer,
    splits: dict[str, Dataset],
    form: Form,
    baselines: Baselines,
    settings: Evaluate,
    decide: Decide,
) -> Evaluated:
    """Everything that is measured of the model on the splits train, validation and test; `form` is how it reads texts."""
    train, validation, test = splits.values()
    names, labels = label_names(test), class_ids(test)
    scored = {
        name: logits(model, token_ids(splits[name]), tokenizer.pad_token_id, desc=name)
        for name in ("validation", "test")
    }
    temperature = fit_temperature(class_ids(validation), scored["validation"])
    probabilities = scaled_probabilities(scored["test"])
    calibrated = {name: scaled_probabilities(rows, temperature) for name, rows in scored.items()}
    rule = decision(decide, names, *((class_ids(splits[name]), calibrated[name]) for name in ("validation", "test")))
    predicted = probabilities.argmax(1)

    slices = slices_of(test, predicted == labels, settings.slices)
    # A row that the model got wrong must not be negated: the flipped label would be right by accident.
    flippable = predicted == labels if settings.behaviour.negation_flips and len(names) == 2 else None
    answers = AnswerKind(lambda rows: rows.argmax(1), np.not_equal, names.__getitem__)
    rates, failures = behaviour_of(model, tokenizer, test, predicted, answers, form, settings.behaviour, flippable)
    # The model was trained on the training rows and believes their labels, also the wrong ones.
    held_out = held_out_probabilities(train["text"][:], class_ids(train), train["group"][:], len(names))
    suspicious, suspicious_list = doubtful_rows(splits, {"train": held_out, **calibrated})
    duplicates, duplicate_list = duplicate_rows(splits, settings.checks.similarity)
    metrics = {
        "test": headline_scores(
            labels, scored["test"], temperature, baselines.probabilities(baselines.best), names, settings.bins
        )
        | {"rows_digest": rows_digest(test["text"][:], [names[label] for label in labels])}
        | ({"decision": rule} if rule else {}),
        "slices": slice_metrics(slices, settings.slices.min_rows),
        "behaviour": rates,
        "checks": {"near_duplicates": duplicates, "suspicious_labels": suspicious},
    }
    tables = {
        "mistakes": mistake_rows(test, calibrated["test"], settings.mistakes),
        "behaviour": failures,
        "near_duplicates": duplicate_list,
        "suspicious_labels": suspicious_list,
    }
    return Evaluated(scored["test"], probabilities, calibrated["test"], pa.array(predicted), slices, metrics, tables)


def write_one_label_plots(folder: Path, test: Dataset, evaluated: Evaluated, bins: int):
    """Data of the plots that dvc.yaml declares."""
    labels = class_ids(test)
    write_plots(folder, labels, evaluated.probabilities, evaluated.calibrated, label_names(test), bins)


def one_label_lines(scores: dict, best: str) -> list[str]:
    """For the terminal: the accuracy with its gain over the best baseline, and the rule of a decision if there is one."""
    accuracy, interval, gain = (scores[name] for name in ("accuracy", "interval", "gain"))
    lines = [
        f"test accuracy {accuracy:.3f} [{interval['low']:.3f}, {interval['high']:.3f}], "
        f"{100 * gain['value']:+.1f} points over {best} [{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}], "
        f"p {gain['p_value']:.2g}"
    ]
    return lines + ([f"decision: {rule_line(rule)}"] if (rule := scores.get("decision")) else [])
