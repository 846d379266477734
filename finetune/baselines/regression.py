"""Logistic regression on features of rows, and the class frequencies that it must beat."""

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
    # Its vectors are so short that threads cost more than they save: with two it takes 2.5 times as long on idle cores
    # and ten times as long on busy ones.
    with threadpool_limits(1):
        return LogisticRegression(C=strength, max_iter=1000).fit(features, labels)


def best_regression(train: Labelled, validation: Labelled) -> tuple[LogisticRegression, float]:
    """Logistic regression with the `C` of the best validation accuracy (the stronger regularisation wins a tie), and that `C`."""
    fitted = [(fitted_regression(train.features, train.labels, strength), strength) for strength in STRENGTHS]
    return max(fitted, key=lambda pair: (pair[0].score(validation.features, validation.labels), -pair[1]))


def class_probabilities(model: LogisticRegression, features, classes: int) -> np.ndarray:
    """Probabilities of shape [rows, classes]; a class that the model has never seen gets 0."""
    probabilities = np.zeros((features.shape[0], classes))
    probabilities[:, model.classes_] = model.predict_proba(features)
    return probabilities


def majority(train_labels: np.ndarray, rows: int, classes: int) -> np.ndarray:
    """The class frequencies of the training rows as every row's probabilities, so the most frequent class is predicted."""
    return np.tile(np.bincount(train_labels, minlength=classes) / len(train_labels), (rows, 1))
