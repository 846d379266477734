"""Labels that are probably wrong: listed for a person to check; no row is removed."""

from collections.abc import Iterator, Sequence

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from finetune.baselines.regression import class_probabilities, fitted_regression, majority
from finetune.baselines.tfidf import term_weights
from finetune.scoring.intervals import SEED

FOLDS = 5
STRENGTH = 10  # what the TF-IDF baseline often chooses; choosing it again would take longer than all folds


def folds(labels: np.ndarray, groups: Sequence[str | None]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows held out, up to five times; labels in proportion, rows of one group together."""
    # A row without a group forms a group alone.
    of_row = np.array([f"row {row}" if group is None else f"group {group}" for row, group in enumerate(groups)])
    smallest = int(np.bincount(labels)[np.unique(labels)].min())
    options = {"shuffle": True, "random_state": SEED}
    if smallest < 2:
        return KFold(min(FOLDS, len(labels)), **options).split(labels)
    count = min(FOLDS, smallest, len(np.unique(of_row)))
    if count < 2:
        return iter(())
    if len(np.unique(of_row)) < len(of_row):
        return StratifiedGroupKFold(count, **options).split(labels, labels, of_row)
    return StratifiedKFold(count, **options).split(labels, labels)


def held_out_probabilities(
    texts: Sequence[str], labels: np.ndarray, groups: Sequence[str | None], classes: int
) -> np.ndarray | None:
    """Probabilities of shape [rows, classes], each row's from a model that has not seen it; None if all rows are one group.

    The model is the TF-IDF baseline. Word weights come from all rows, since they use no labels.
    """
    return held_out(term_weights(texts).fit_transform(texts), labels, groups, classes)


def held_out_label_probabilities(
    texts: Sequence[str], truth: np.ndarray, groups: Sequence[str | None]
) -> np.ndarray | None:
    """As `held_out_probabilities`, of each of several labels; `truth` (bool) and the result have the shape [rows, labels]."""
    features = term_weights(texts).fit_transform(texts)
    columns = []
    for has in truth.T:
        probabilities = held_out(features, has.astype(np.int64), groups, 2)
        if probabilities is None:
            return None
        columns.append(probabilities[:, 1])
    return np.column_stack(columns)


def held_out(features, labels: np.ndarray, groups: Sequence[str | None], classes: int) -> np.ndarray | None:
    """Out-of-fold probabilities of a logistic regression, of shape [rows, classes]; None if the rows cannot be divided into folds."""
    parts = list(folds(labels, groups))
    probabilities = np.zeros((len(labels), classes))
    for fitted, held in parts:
        if len(np.unique(labels[fitted])) < 2:
            probabilities[held] = majority(labels[fitted], len(held), classes)
        else:
            model = fitted_regression(features[fitted], labels[fitted], STRENGTH)
            probabilities[held] = class_probabilities(model, features[held], classes)
    return probabilities if parts else None


def suspicious_labels(labels: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
    """Rows whose label is probably wrong, the most doubtful first; confident learning, Northcutt et al. 2021.

    A row is suspicious when the model gives another class at least the probability that it gives that
    class on average over the rows labelled with it. The model must not have been fitted on these rows.
    """
    if probabilities is None or len(np.unique(labels)) < 2:
        return np.array([], int)
    # The work takes a tenth of a second; every further process would import all modules first.
    return find_label_issues(
        labels, probabilities, filter_by="confident_learning", return_indices_ranked_by="self_confidence", n_jobs=1
    ).astype(int)


def suspicious_decisions(truth: np.ndarray, probabilities: np.ndarray | None) -> np.ndarray:
    """Whether each of several labels is probably wrong, because it is there or because it is missing.

    Everything has the shape [rows, labels]. Each label is looked at on its own, as a class and its opposite.
    """
    suspicious = np.zeros(truth.shape, bool)
    if probabilities is not None:
        for label, (has, scores) in enumerate(zip(truth.T, probabilities.T, strict=True)):
            rows = suspicious_labels(has.astype(np.int64), np.column_stack([1 - scores, scores]))
            suspicious[rows, label] = True
    return suspicious
