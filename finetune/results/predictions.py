"""Predictions of the test rows, as the stage `evaluate` stores them, for one label per text or several."""

import numpy as np
import pyarrow as pa
from scipy.special import log_softmax

from finetune.rows.label_lists import matrix_of

COLUMNS = {"row", "label", "predicted", "logits"}


def has_label_sets(predictions: pa.Table) -> bool:
    """Whether a row has a list of labels, which may be empty, instead of one label."""
    return pa.types.is_list(predictions.schema.field("label").type)


def logits_of(predictions: pa.Table) -> np.ndarray:
    """Logits of shape [rows, classes]."""
    return np.array(predictions.column("logits").to_pylist(), float)


def scaled(predictions: pa.Table, temperature: float) -> pa.Table:
    """The predictions with their logits divided by the temperature."""
    logits = logits_of(predictions) / temperature
    position = predictions.column_names.index("logits")
    return predictions.set_column(position, "logits", pa.array(list(logits), pa.list_(pa.float64())))


def log_loss(predictions: pa.Table) -> float:
    """Mean log loss of the rows, or of every label of every row."""
    logits = logits_of(predictions)
    if has_label_sets(predictions):
        truth = matrix_of(predictions.column("label"), logits.shape[1])
        return float(np.logaddexp(0, np.where(truth, -logits, logits)).mean())
    labels = predictions.column("label").to_numpy()
    return float(-log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())


def match(predictions: pa.Table, test: dict) -> bool:
    """Whether predictions, scaled, give the log loss of a metrics file, which two models hardly ever share.

    In the workspace they may belong to another commit: `git checkout` restores metrics, only `dvc checkout` restores data.
    """
    return not isinstance(test.get("log_loss"), float) or abs(log_loss(predictions) - test["log_loss"]) < 1e-4
