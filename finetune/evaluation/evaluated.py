"""Everything that is measured of the fine-tuned model: scores, slices, behaviour, and the rows to review."""

from typing import NamedTuple

import numpy as np
from datasets import Dataset

from finetune.base.params import Decide, Evaluate
from finetune.encoder.prediction import logits
from finetune.evaluation.behaviour import behaviour_of
from finetune.evaluation.calibration import fit_temperature, scaled_probabilities
from finetune.evaluation.decision_rules import decision
from finetune.evaluation.headline import headline_scores, rows_digest
from finetune.evaluation.review_lists import doubtful_rows, duplicate_rows, mistake_rows
from finetune.evaluation.slices import slice_metrics, slices_of
from finetune.evaluation.suspicious_labels import held_out_probabilities
from finetune.rows.form import Form
from finetune.rows.stored import class_ids, label_names, token_ids


class Evaluated(NamedTuple):
    """The model on the test rows; logits and probabilities, before and after scaling, have the shape [rows, classes].

    `slices` holds the scores of all slices, `metrics` the content of each metrics file, `tables` the rows of each table for review.
    """

    logits: np.ndarray
    probabilities: np.ndarray
    calibrated: np.ndarray
    slices: dict[str, dict]
    metrics: dict[str, dict]
    tables: dict[str, list]


def score(
    model,
    tokenizer,
    splits: dict[str, Dataset],
    form: Form,
    baseline: np.ndarray,
    settings: Evaluate,
    decide: Decide,
) -> Evaluated:
    """Everything that is measured of the model on the splits train, validation and test.

    `form` is how the model reads texts, `baseline` the best baseline's probabilities of the test rows.
    """
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
    rates, failures = behaviour_of(model, tokenizer, test, predicted, form, settings.behaviour)
    # The model was trained on the training rows and believes their labels, also the wrong ones.
    held_out = held_out_probabilities(train["text"][:], class_ids(train), train["group"][:], len(names))
    suspicious, suspicious_list = doubtful_rows(splits, {"train": held_out, **calibrated})
    duplicates, duplicate_list = duplicate_rows(splits, settings.checks.similarity)
    metrics = {
        "test": headline_scores(labels, scored["test"], temperature, baseline, names, settings.bins)
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
    return Evaluated(scored["test"], probabilities, calibrated["test"], slices, metrics, tables)
