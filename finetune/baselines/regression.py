"""Logistic regression on features of rows, and what it must beat: the class shares."""

from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

STRENGTHS = (0.1, 0.3, 1, 3, 10, 30, 100)  # inverse regularisation of a logistic regression


class Labelled(NamedTuple):
    """Features and class ids of the same rows."""

    features: object  # array or sparse matrix of shape [rows, features]
    labels: np.ndarray


def fitted_regression(features, labels: np.ndarray, strength: float) -> LogisticRegression:
    """Multinomial logistic regression."""
    # Its vectors are so short that threads cost more than they share: 2.5 times the time of one on idle cores, ten
    # times on busy ones.
    with threadpool_limits(1):
        return LogisticRegression(C=strength, max_iter=1000).fit(features, labels)


def best_regression(train: Labelled, validation: Labelled) -> tuple[LogisticRegression, float]:
    """Logistic regression whose strength gives the best validation accuracy (the stronger regularised wins a tie)."""
    fitted = [(fitted_regression(train.features, train.labels, strength), strength) for strength in STRENGTHS]
    return max(fitted, key=lambda pair: (pair[0].score(validation.features, validation.labels), -pair[1]))


def class_probabilities(model: LogisticRegression, features, classes: int) -> np.ndarray:
    """Probabilities of shape [rows, classes]; a class the model has never seen gets 0."""
    found = np.zeros((features.shape[0], classes))
    found[:, model.classes_] = model.predict_proba(features)
    return found


def majority(train_labels: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """The class shares of train for every row, so that the most frequent class is predicted."""
    return np.tile(np.bincount(train_labels, minlength=classes) / len(train_labels), (rows, 1))
