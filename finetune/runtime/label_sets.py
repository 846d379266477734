"""Several labels per text: which of them are answered, from their probabilities and thresholds."""

from collections.abc import Sequence

import numpy as np


def label_set(labels: Sequence[str], thresholds: np.ndarray, probabilities: np.ndarray) -> list[str]:
    """Labels that reach their thresholds, in the order of the labels, from the probabilities of one text, [labels].

    >>> label_set(["bad", "good", "long"], np.array([0.5, 0.25, 0.5]), np.array([0.4, 0.25, 0.6]))
    ['good', 'long']
    """
    return [label for label, reached in zip(labels, probabilities >= thresholds, strict=True) if reached]


def leading(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Id of the label that is farthest above its threshold, or least below, for probabilities of shape [texts, labels].

    >>> leading(np.array([[0.75, 0.5], [0.25, 0.125]]), np.array([0.5, 0.125])).tolist()
    [1, 1]
    """
    return (probabilities - thresholds).argmax(1)
