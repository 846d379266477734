"""Baselines on the frozen encoder: logistic regression on its features with all rows or few, and an untrained head."""

from pathlib import Path

import numpy as np
from datasets import Dataset
from scipy.special import softmax

from finetune.base.params_training import FewShot
from finetune.baselines.regression import Labelled, best_regression, class_probabilities, fitted_regression
from finetune.encoder.models import fresh_classifier
from finetune.encoder.prediction import logits
from finetune.rows.stored import label_names, token_ids
from finetune.scoring.intervals import crossed_interval
from finetune.scoring.scores import score_block


def embedding(train: Labelled, validation: Labelled, test_features: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities of shape [rows, classes] from logistic regression on the mean hidden states of the frozen encoder."""
    model, _ = best_regression(train, validation)
    return class_probabilities(model, test_features, classes)


def few_shot(train: Labelled, test_features: np.ndarray, classes: int, settings: FewShot, seed: int) -> np.ndarray:
    """Probabilities of shape [draws, rows, classes]: logistic regression on k labelled examples a class.

    The encoder is frozen. Each draw takes other examples; a class with fewer than k rows gives all of them.
    """
    draws = []
    for draw in range(settings.draws):
        random = np.random.default_rng([seed, draw])
        shuffled = random.permutation(len(train.labels))
        chosen = [shuffled[train.labels[shuffled] == label][: settings.per_class] for label in range(classes)]
        chosen = np.concatenate(chosen)
        model = fitted_regression(train.features[chosen], train.labels[chosen], 1.0)
        draws.append(class_probabilities(model, test_features, classes))
    return np.stack(draws)


def untrained(base: Path, test: Dataset, pad_id: int, seed: int) -> np.ndarray:
    """Probabilities of shape [rows, classes] from a randomly initialised head, as before the first step of training."""
    model = fresh_classifier(base, label_names(test), seed)
    return softmax(logits(model, token_ids(test), pad_id, desc="untrained").astype(np.float64), axis=-1)


def mean_block(blocks: list[dict]) -> dict:
    """Mean of score blocks, number by number; what is no score (rows, absent labels, None) is the same in all of them."""
    return {
        key: mean_block([block[key] for block in blocks])
        if isinstance(value, dict)
        else float(np.mean([block[key] for block in blocks]))
        if isinstance(value, float)
        else value
        for key, value in blocks[0].items()
    }


def few_shot_block(labels: np.ndarray, draws: np.ndarray, class_names: list[str]) -> dict:
    """Mean score block over draws, the standard deviation of their accuracies, and the interval over draws and rows.

    `draws` has the shape [draws, rows, classes].
    """
    block = mean_block([score_block(labels, draw.argmax(1), class_names) for draw in draws])
    right = draws.argmax(2) == labels
    return {
        **block,
        "rows": len(labels),
        "interval": crossed_interval(right),
        "std": right.mean(1).std(ddof=1),
        "draws": len(draws),
    }


def best_draw(labels: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Probabilities of shape [rows, classes] of the draw with the highest accuracy, the first of equals."""
    return max(draws, key=lambda draw: (draw.argmax(1) == labels).mean())
