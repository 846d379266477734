"""What the stage writes about the baselines, for one label per text or several."""

from typing import NamedTuple

import numpy as np


class Scored(NamedTuple):
    """Every baseline on the test rows.

    `metrics` holds the score block of each by name, `columns` what the file of predictions says about each, `truth` the labels,
    of shape [rows] or [rows, labels], `best` the name of the most accurate, `probabilities` its probabilities of shape
    [rows, labels], `skipped` the reason of each baseline that did not run.
    """

    metrics: dict[str, dict]
    columns: dict[str, np.ndarray]
    truth: np.ndarray
    best: str
    probabilities: np.ndarray
    skipped: dict[str, str]


def most_accurate(metrics: dict[str, dict]) -> str:
    """Name of the baseline with the highest accuracy, the first of equals."""
    return max(metrics, key=lambda name: metrics[name]["accuracy"])
