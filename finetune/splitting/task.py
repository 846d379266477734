"""One label per text, or several: each knows the ids of its labels, their splits and their counts."""

import numpy as np

from finetune.base.params import Split
from finetune.splitting.keys import RowKeys, label_ids
from finetune.splitting.label_sets import LabelSets, assign_set_splits, set_counts
from finetune.splitting.splits import assign_splits, split_counts


class OneLabel:
    """A row's id is its class; `names` are the class names in id order."""

    several = False

    def __init__(self, labels: dict[str, str]):
        self.names = list(dict.fromkeys(labels.values()))
        self.ids = label_ids(labels)

    def splits(self, keys: RowKeys, settings: Split) -> tuple[np.ndarray, dict[str, int]]:
        """Split of each row, and how many rows were dropped for which reason."""
        return assign_splits(keys, settings, self.names)

    def stored(self, ids: np.ndarray) -> np.ndarray:
        """The label column: the class id of each row."""
        return ids

    def counts(self, split: np.ndarray, ids: np.ndarray) -> dict[str, dict]:
        """Number of rows by split and class, for the metrics."""
        return split_counts(split, ids, self.names)


class SeveralLabels:
    """A row's id is that of its set of labels; `names` are the names of the labels in id order."""

    several = True

    def __init__(self, labels: dict[str, str]):
        self.names = list(dict.fromkeys(labels.values()))
        self.ids = LabelSets(label_ids(labels))

    def splits(self, keys: RowKeys, settings: Split) -> tuple[np.ndarray, dict[str, int]]:
        """Split of each row, and how many rows were dropped for which reason."""
        return assign_set_splits(keys, self.ids, settings, self.names)

    def stored(self, ids: np.ndarray) -> np.ndarray:
        """The label column: a tuple of label ids for each row."""
        return self.ids.of_rows(ids)

    def counts(self, split: np.ndarray, ids: np.ndarray) -> dict[str, dict]:
        """Number of rows by split, label and set of labels, for the metrics."""
        return set_counts(split, ids, self.ids, self.names)


def task_of(source: dict) -> OneLabel | SeveralLabels:
    """The task of the raw rows, from the `source.json` that `download` wrote."""
    return (SeveralLabels if source.get("task") == "multi_label" else OneLabel)(source["labels"])
