"""Logistic regression on features of rows, and the class frequencies that it must beat."""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

STRENGTHS = (0.1, 0.3, 1, 3, 10, 30, 100)  # inverse regularisation of a logistic regression

MOST_TO_CHOOSE = 20_000  # rows: enough to tell strengths apart that are three times another
SEED = 42


class Labelled(NamedTuple):
    """Features and class ids of the same rows."""

    features: object  # array or sparse matrix of shape [rows, features]
    labels: np.ndarray


def fitted_regression(features, labels: np.ndarray, strength: float) -> LogisticRegression:
    """Multinomial logistic regression."""
    # Its vectors are so short that threads cost more than they save: with two it takes 2.5 times as long on idle cores
    # and ten times as long on busy ones.
    with threadpool_limits(1):
        return LogisticRegression(C=strength, max_iter=1000).fit(features, labels)


def best_regression(train: Labelled, validation: Labelled) -> tuple[LogisticRegression, float]:
    """Logistic regression with the `C` of the best validation accuracy (the stronger regularisation wins a tie), and that `C`.

    Of more than 20,000 rows, a sample chooses the `C`, and one more fit uses all.
    """
    some = train
    if len(train.labels) > MOST_TO_CHOOSE:
        chosen = np.sort(np.random.default_rng(SEED).permutation(len(train.labels))[:MOST_TO_CHOOSE])
        some = Labelled(train.features[chosen], train.labels[chosen])
    fitted = [(fitted_regression(some.features, some.labels, strength), strength) for strength in STRENGTHS]
    model, best = max(fitted, key=lambda pair: (pair[0].score(validation.features, validation.labels), -pair[1]))
    return (model if some is train else fitted_regression(train.features, train.labels, best)), best


def class_probabilities(model: LogisticRegression, features, classes: int) -> np.ndarray:
    """Probabilities of shape [rows, classes]; a class that the model has never seen gets 0."""
    probabilities = np.zeros((features.shape[0], classes))
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities


def majority(train_labels: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """The class frequencies of the training rows as every row's probabilities, so the most frequent class is predicted."""
    return np.tile(np.bincount(train_labels, minlength=classes) / len(train_labels), (rows, 1))
