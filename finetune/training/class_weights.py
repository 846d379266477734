"""Weights of the classes in the loss, for labels of which some are much rarer than others."""

import numpy as np

from finetune.base.params import check_class_weights


def class_weights(setting: dict[str, float] | str | None, labels: np.ndarray, label_names: list[str]) -> np.ndarray:
    """Weight of each class in id order, from `train.class_weights` and the labels of the training rows.

    None weighs all classes equally. "balanced" gives rows / (classes * rows of the class), as in scikit-learn, so that each
    class has the same weight in total: 95 and 5 rows -> 0.526 and 10. In a dictionary a class that is not named has weight 1.
    Raises UserError if a weight is for no label of the data.
    """
    check_class_weights(setting, label_names)
    if setting == "balanced":
        counts = np.bincount(labels, minlength=len(label_names))
        # No row asks for the weight of a class that has none.
        return np.where(counts > 0, len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)), 1.0)
    return np.array([(setting or {}).get(name, 1.0) for name in label_names])
