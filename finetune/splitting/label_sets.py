"""Several labels per text: an id for each set of labels, and splits in which each set and each label keeps its share."""

import numpy as np

from finetune.base.errors import UserError
from finetune.base.params_data import Split
from finetune.splitting.keys import RowKeys
from finetune.splitting.splits import SPLIT_NAMES, TRAIN, assign_splits

ENOUGH = 30  # rows for a stratum of their own: a split by group may need 20, and validation takes a tenth


class LabelSets:
    """Ids of sets of labels in the order in which they are met; `get` is what `finetune.splitting.keys.row_keys` asks for.

    `sets` holds the ids of the labels of each set, sorted. A row that is not labelled, or that has a label without an
    id, has no set.
    """

    def __init__(self, label_ids: dict[str, int]):
        self.label_ids = label_ids
        self.ids: dict[tuple[int, ...], int] = {}

    def get(self, labels: list[str] | None, missing: int) -> int:
        """Id of the set of these raw labels."""
        if labels is None or any(label not in self.label_ids for label in labels):
            return missing
        return self.ids.setdefault(tuple(sorted({self.label_ids[label] for label in labels})), len(self.ids))

    @property
    def sets(self) -> list[tuple[int, ...]]:
        return list(self.ids)

    def matrix(self, labels: int) -> np.ndarray:
        """Whether each set has each of so many labels, bool of shape [sets, labels]."""
        matrix = np.zeros((len(self.ids), labels), bool)
        for row, members in enumerate(self.sets):
            matrix[row, list(members)] = True
        return matrix

    def of_rows(self, ids: np.ndarray) -> np.ndarray:
        """The set of each row as an object array of tuples; () for a row without one."""
        sets = np.empty(len(self.ids) + 1, object)
        sets[:] = [*self.sets, ()]
        return sets[ids]


def strata(ids: np.ndarray, sets: list[tuple[int, ...]], labels: int) -> np.ndarray:
    """Stratum of each row, -1 for a row without a set.

    A set with many rows is a stratum of its own (the label powerset). A row of a rarer set belongs to its rarest label, so that
    rare labels are spread too; rows of all labels that are still too few form one stratum, or join the smallest other one.
    Sechidis et al. 2011, "On the Stratification of Multi-Label Data", compare such strata with an iterative draw.
    """
    known = ids >= 0
    rows_of_set = np.bincount(ids[known], minlength=len(sets))
    rows_of_label = np.zeros(labels, int)
    for members, rows in zip(sets, rows_of_set, strict=True):
        rows_of_label[list(members)] += rows
    own = [
        ("set", position)
        if rows_of_set[position] >= ENOUGH or not members
        else ("label", min(members, key=lambda label: (rows_of_label[label], label)))
        for position, members in enumerate(sets)
    ]
    rows_of = {key: sum(rows_of_set[at] for at, other in enumerate(own) if other == key) for key in set(own)}
    large = sorted(key for key, rows in rows_of.items() if rows >= ENOUGH)
    small = sum(rows for key, rows in rows_of.items() if rows < ENOUGH)
    numbers = {key: number for number, key in enumerate(large)}
    rest = len(large)
    if large and 0 < small < ENOUGH:
        rest = numbers[min(large, key=lambda key: (rows_of[key], key))]
    of_set = np.array([numbers.get(key, rest) for key in own] + [-1])
    return of_set[ids]


def assign_set_splits(
    rows: RowKeys, sets: LabelSets, settings: Split, label_names: list[str]
) -> tuple[np.ndarray, dict[str, int]]:
    """`assign_splits` of rows whose label is the id of a set of labels; groups and duplicates count as they do there.

    Raises UserError when there are too few rows, or when train or test lacks what it needs.
    """
    stratum = strata(rows.label, sets.sets, len(label_names))
    names = [f"label set {number}" for number in range(stratum.max(initial=0) + 1)]
    matrix = sets.matrix(len(label_names))
    return assign_splits(
        rows._replace(label=stratum.astype(np.int32)),
        settings,
        names,
        lambda split: check_labels(split, rows.label, matrix, label_names),
    )


def check_labels(split: np.ndarray, ids: np.ndarray, matrix: np.ndarray, label_names: list[str]):
    """Raises UserError when a split has no row, train has all or no rows of a label, or test has no label at all."""
    for part, name in enumerate(SPLIT_NAMES):
        members = ids[split == part]
        if not len(members):
            raise UserError(f"no row is left in {name}; add rows or raise its share under split:")
        counts = matrix[members].sum(0)
        if part == TRAIN and counts.min() == 0:
            missing = label_names[int(counts.argmin())]
            raise UserError(
                f"train has {len(members)} rows and none of them has {missing!r}; raise split.train_rows or add rows"
            )
        if part == TRAIN and counts.max() == len(members):
            every = label_names[int(counts.argmax())]
            raise UserError(
                f"train has {len(members)} rows and all of them have {every!r}, so it need not be predicted; leave it out"
            )
        if part != TRAIN and counts.max() == 0:
            raise UserError(
                f"{name} has {len(members)} rows and none of them has a label; raise split.{name}, or add rows"
            )


def set_counts(split: np.ndarray, ids: np.ndarray, sets: LabelSets, label_names: list[str]) -> dict[str, dict]:
    """Number of `rows` in each split, of the kept rows with each of the `labels`, without any, and of different `label_sets`."""
    kept = sets.matrix(len(label_names))[ids[split >= 0]]
    return {
        "rows": {name: int((split == part).sum()) for part, name in enumerate(SPLIT_NAMES)},
        "labels": {name: int(count) for name, count in zip(label_names, kept.sum(0), strict=True)},
        "without_label": int((~kept.any(1)).sum()),
        "label_sets": len(np.unique(ids[split >= 0])),
        "labels_per_text": float(kept.sum(1).mean()),
    }
