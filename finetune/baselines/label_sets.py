"""Baselines for several labels per text: the most frequent set, and a logistic regression for each label."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from datasets import Dataset
from sklearn.metrics import log_loss

from finetune.base.params_training import Baseline
from finetune.baselines.regression import STRENGTHS, fitted_regression
from finetune.baselines.scored import Scored, most_accurate
from finetune.baselines.tfidf import term_weights
from finetune.baselines.with_encoder import split_embeddings
from finetune.encoder.hardware import chosen_precision, device
from finetune.rows.stored import label_matrix, label_names, token_ids
from finetune.scoring.label_sets import best_thresholds, resampled_sets, set_block, set_intervals

FOR_ONE_LABEL = ("untrained", "zero_shot", "few_shot")
NOT_FOR_SETS = "it is for one label per text"


class Answered(NamedTuple):
    """Probabilities and answered labels of the test rows, both of shape [rows, labels]."""

    probabilities: np.ndarray
    answers: np.ndarray


def most_frequent_set(train: np.ndarray, rows: int) -> Answered:
    """The most frequent set of the training rows for every row, with the share of training rows of each label."""
    sets, counts = np.unique(train, axis=0, return_counts=True)
    return Answered(np.tile(train.mean(0), (rows, 1)), np.tile(sets[counts.argmax()], (rows, 1)))


def one_vs_rest(features: dict, truth: dict[str, np.ndarray]) -> Answered:
    """A logistic regression for each label, with the `C` of the lowest log loss on validation and a threshold chosen there."""
    probabilities = {
        name: np.empty((features[name].shape[0], truth["train"].shape[1])) for name in ("validation", "test")
    }
    for label, has in enumerate(truth["train"].T):
        if has.all() or not has.any():  # in a sample of the training rows
            for values in probabilities.values():
                values[:, label] = has.mean()
            continue
        shown = truth["validation"][:, label]
        fitted = [fitted_regression(features["train"], has, strength) for strength in STRENGTHS]
        losses = [
            log_loss(shown, model.predict_proba(features["validation"])[:, 1], labels=[False, True]) for model in fitted
        ]
        best = fitted[int(np.argmin(losses))]
        for name, values in probabilities.items():
            values[:, label] = best.predict_proba(features[name])[:, 1]
    thresholds = best_thresholds(truth["validation"], probabilities["validation"])
    return Answered(probabilities["test"], probabilities["test"] >= thresholds)


def set_baselines(
    base: Path, splits: dict[str, Dataset], train: np.ndarray, pad_id: int, skip: list[str]
) -> dict[str, Answered]:
    """Each baseline that `skip` does not name on the test rows; `train` holds the label sets of all training rows."""
    truth = {name: label_matrix(rows) for name, rows in splits.items()}
    answered = {"majority": most_frequent_set(train, len(splits["test"]))}
    if "tfidf" not in skip:
        vectorizer = term_weights(splits["train"]["text"][:])
        vectorizer.fit(splits["train"]["text"][:])
        answered["tfidf"] = one_vs_rest(
            {name: vectorizer.transform(rows["text"][:]) for name, rows in splits.items()}, truth
        )
    if "embedding" not in skip:
        # In bf16 if it is faster, as in training.
        with torch.autocast(device().type, torch.bfloat16, enabled=chosen_precision("auto") == "bf16"):
            features = split_embeddings(base, {name: token_ids(rows) for name, rows in splits.items()}, pad_id)
        answered["embedding"] = one_vs_rest(features, truth)
    return answered


def score_label_sets(base: Path, train: Dataset, splits: dict[str, Dataset], tokenizer, settings: Baseline) -> Scored:
    """As `finetune.baselines.one_label.score_one_label`; the file of predictions holds the answers too."""
    names, truth = label_names(splits["test"]), label_matrix(splits["test"])
    answered = set_baselines(base, splits, label_matrix(train), tokenizer.pad_token_id, settings.skip)
    metrics, columns = {}, {}
    for name, of in answered.items():
        metrics[name] = set_block(truth, of.answers, of.probabilities, names)
        resampled = resampled_sets(truth, of.answers, of.probabilities)
        metrics[name]["intervals"] = set_intervals(resampled, metrics[name]["interval"])
        columns |= {name: of.probabilities.astype(np.float32), f"{name}.answers": of.answers}
    best = most_accurate(metrics)
    chosen = dict.fromkeys(settings.skip, "baseline.skip names it")
    skipped = chosen | {name: NOT_FOR_SETS for name in FOR_ONE_LABEL if name not in chosen}
    return Scored(metrics, columns, truth, best, answered[best].probabilities, skipped)
