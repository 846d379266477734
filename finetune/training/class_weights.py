"""Weights of the classes in the loss, for labels of which some are much rarer than others."""

import numpy as np

from finetune.base.params import check_class_weights


def class_weights(setting: dict[str, float] | str | None, targets: np.ndarray, label_names: list[str]) -> np.ndarray:
    """Weight of each label in id order, from `train.class_weights` and the targets of the training rows.

    `targets` are class ids [rows], or 0 and 1 [rows, labels] for several labels per text. None weighs all labels equally, and a
    label that a dictionary does not name has weight 1. "balanced" gives each class rows / (classes * rows of the class), as in
    scikit-learn, so that each class has the same weight in total: 95 and 5 rows -> 0.526 and 10. For several labels per text
    the weight is that of the texts with the label, and "balanced" gives texts without it / texts with it, as
    `torch.nn.BCEWithLogitsLoss` proposes: 5 of 100 texts -> 19.
    Raises UserError if a weight is for no label of the data.
    """
    check_class_weights(setting, label_names)
    if setting != "balanced":
        return np.array([(setting or {}).get(name, 1.0) for name in label_names])
    # No row asks for the weight of a label that has none.
    if targets.ndim == 2:
        counts = targets.sum(0, dtype=np.float64)
        return np.where((counts > 0) & (counts < len(targets)), (len(targets) - counts) / np.maximum(counts, 1), 1.0)
    counts = np.bincount(targets, minlength=len(label_names))
    return np.where(counts > 0, len(targets) / ((counts > 0).sum() * np.maximum(counts, 1)), 1.0)
