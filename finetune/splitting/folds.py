"""Folds of a cross-validation: every row is in one, and each fold is the test split of one run.

The folds depend on the rows and the seed alone, so the runs of all folds agree on them.
"""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from finetune.base.errors import UserError

# Groups times folds that scikit-learn places one by one, 20 microseconds each.
MOST_PLACES = 500_000


def fold_of_rows(
    labels: np.ndarray, groups: np.ndarray | None, folds: int, seed: int, label_names: list[str]
) -> np.ndarray:
    """Fold of each row, 0 to folds - 1: about the same proportion of each class in every fold, and whole groups.

    `labels` are class ids, `groups` one key per row, or None where no two rows share one. Raises UserError if there are too
    few rows or groups, also for a fold that is not tested in this run: nothing should train before that is known.
    """
    counts = np.bincount(labels, minlength=len(label_names))
    if counts.min() < folds:
        rare = label_names[int(counts.argmin())]
        raise UserError(
            f"too few rows for {folds} folds: {counts.min()} rows have the label {rare!r}, and each fold tests at least one "
            "row of each label; lower split.folds or add rows"
        )
    count = len(labels) if groups is None else len(np.unique(groups))
    if count < folds:
        raise UserError(f"too few groups for {folds} folds: {count}; lower split.folds or set data.group to null")
    if groups is not None and count * folds > MOST_PLACES:
        fold = drawn_folds(groups, folds, seed)
    else:
        kind = StratifiedKFold if groups is None else StratifiedGroupKFold
        fold = np.empty(len(labels), int)
        for number, (_, tested) in enumerate(
            kind(folds, shuffle=True, random_state=seed).split(labels, labels, groups)
        ):
            fold[tested] = number
    check_folds(fold, labels, folds, label_names)
    return fold


def drawn_folds(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Fold of each row, its group drawn at random: for tens of thousands of groups, whose folds then have equal proportions."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    fold = np.empty(len(sizes), int)
    fold[order] = before * folds // len(groups)
    return fold[group]


def check_folds(fold: np.ndarray, labels: np.ndarray, folds: int, label_names: list[str]):
    """Raises UserError if a fold tests one label only, or leaves a label without rows to train on, because of large groups."""
    counts = np.array([np.bincount(labels[fold == number], minlength=len(label_names)) for number in range(folds)])
    fix = "lower split.folds, set another split.seed, or set data.group to null"
    for number, tested in enumerate(counts):
        left = counts.sum(0) - tested
        if left.min() == 0:
            missing = label_names[int(left.argmin())]
            raise UserError(f"all rows with the label {missing!r} are in groups of fold {number}; {fix}")
        if np.count_nonzero(tested) < 2:
            found = f"all {tested.sum()} rows of fold {number} are {label_names[int(tested.argmax())]!r}"
            raise UserError(
                f"{found if tested.sum() else f'fold {number} has no rows'}: some groups are too large; {fix}"
            )
