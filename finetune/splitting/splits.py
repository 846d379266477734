"""Assigns each row to train, validation or test: by label, by group, and never twice.

All functions work on a few numbers per row, so that a data set larger than memory can be split.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from finetune.base.errors import UserError
from finetune.base.params_data import Split
from finetune.splitting.folds import MOST_PLACES, fold_of_rows
from finetune.splitting.keys import RowKeys

SPLIT_NAMES = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
LEFT_OUT = -1
NEAR = 1 / 4  # of a share: how much larger or smaller it may be where there are few groups


def assign_splits(
    rows: RowKeys, settings: Split, label_names: list[str], check: Callable | None = None
) -> tuple[np.ndarray, dict[str, int]]:
    """Split of each row (TRAIN, VALIDATION, TEST or LEFT_OUT), and the number of rows left out for each reason.

    A test or validation split of the source is kept; a missing one is taken out of train, stratified by label, with the
    rows of a group kept together. If several rows have the same text, only the first stays; rows of test come first,
    then validation, then train, so that the test rows depend on no other split. Validation and test have at most
    `held_out_rows` rows; more that could be taken out stay in train, more that the source has are left out. With
    `settings.folds`, test is one of so many folds of train, with all of its rows. `check` looks at the split of each
    row in the end, if not `check_classes` is to. Raises UserError when there are too few rows.
    """
    split, dropped = dropped_rows(rows)
    if not (split == TRAIN).any():
        raise UserError(
            f"no row is left to train on: dropped {', '.join(f'{count} {why}' for why, count in dropped.items())}"
        )
    grouped = len(np.unique(rows.group)) < len(rows.group)
    share_left = 1.0
    if settings.folds:
        split[tested_fold(split, rows, grouped, settings, label_names)] = TEST
        share_left -= 1 / settings.folds
    for part, wanted in ((TEST, settings.test), (VALIDATION, settings.validation)):
        if (split == part).any():
            continue
        train = np.flatnonzero(split == TRAIN)
        check_counts(rows.label[train], label_names, part)
        share, share_left = wanted / share_left, share_left - wanted
        share = min(share, most_held_out(settings, part) / len(train))
        if grouped:
            carved = carve_groups(rows.label[train], rows.group[train], share, settings.seed)
        else:
            carved = carve_rows(rows.label[train], share, settings.seed)
        split[train[carved]] = part
    dropped["subset"] = 0
    limits = (
        (TRAIN, settings.train_rows),
        (VALIDATION, settings.held_out_rows),
        (TEST, None if settings.folds else settings.test_rows or settings.held_out_rows),
    )
    for part, wanted in limits:
        members = np.flatnonzero(split == part)
        if wanted is not None and wanted < len(members):
            chosen = nested_subset(rows.label[members], wanted, settings.seed)
            split[np.setdiff1d(members, members[chosen])] = LEFT_OUT
            dropped["subset"] += len(members) - wanted
    check(split) if check else check_classes(split, rows.label, label_names)
    return split, dropped


def tested_fold(split: np.ndarray, rows: RowKeys, grouped: bool, settings: Split, label_names: list[str]) -> np.ndarray:
    """Positions of the rows of the fold that is tested; raises UserError if the source brings test rows of its own."""
    if own := int((split == TEST).sum()):
        raise UserError(
            f"split.folds is {settings.folds}, but the source brings a test split of {own} rows, which no fold may train on; "
            "set split.folds and split.fold to null, or put the rows to cross-validate into one table"
        )
    train = np.flatnonzero(split == TRAIN)
    groups = rows.group[train] if grouped else None
    fold = fold_of_rows(rows.label[train], groups, settings.folds, settings.seed, label_names)
    return train[fold == settings.fold]


def most_held_out(settings: Split, part: int) -> float:
    """Most rows to take out of train for `part`; `split.test_rows` counts later, so that it changes no other split."""
    if settings.held_out_rows is None:
        return math.inf
    return max(settings.held_out_rows, settings.test_rows or 0) if part == TEST else settings.held_out_rows


def dropped_rows(rows: RowKeys) -> tuple[np.ndarray, dict[str, int]]:
    """Source split of each row with LEFT_OUT for rows that cannot be used, and the count of each reason."""
    split = rows.source.copy()
    unlabelled = rows.label < 0
    empty = ~unlabelled & (rows.text == 0)
    split[unlabelled | empty] = LEFT_OUT
    usable = np.flatnonzero(split != LEFT_OUT)
    # Test first: a text that is also in train must leave train, not test.
    order = usable[np.lexsort((-split[usable], rows.text[usable]))]
    repeated = rows.text[order[1:]] == rows.text[order[:-1]]
    split[order[1:][repeated]] = LEFT_OUT
    shared = np.zeros(len(split), bool)
    for part in (VALIDATION, TRAIN):
        later = np.unique(rows.group[split > part])
        if len(later):
            shared |= (split == part) & np.isin(rows.group, later)
    split[shared] = LEFT_OUT
    counts = {"empty": empty.sum(), "duplicate": repeated.sum(), "unlabelled": unlabelled.sum(), "group": shared.sum()}
    return split, {why: int(count) for why, count in counts.items()}


def check_counts(labels: np.ndarray, label_names: list[str], part: int):
    """Raises UserError when there are too few rows, in all or of one class, to split off `part`."""
    counts = np.bincount(labels, minlength=len(label_names))
    if len(labels) < 3 * len(label_names) or counts.min() < 2:
        rare = label_names[int(counts.argmin())]
        raise UserError(
            f"too few rows to split off {SPLIT_NAMES[part]}: {len(labels)} rows for {len(label_names)} labels, "
            f"{counts.min()} of them {rare!r}; each label needs at least 3 rows"
        )


def carve_rows(labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions of the rows to take out, the same proportion of each class."""
    classes = len(np.unique(labels))
    size = min(max(round(share * len(labels)), classes), len(labels) - classes)
    return train_test_split(np.arange(len(labels)), test_size=size, stratify=labels, random_state=seed)[1]


def carve_groups(labels: np.ndarray, groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Positions of the rows to take out: whole groups, and about the same proportion of each class.

    The share is a number of folds: 0.1 is one fold of ten, 0.15 is three of twenty, 0.02 one of fifty if there are as many
    groups and rows of each class, else one of as many as there are. With fewer groups or rows than folds, it is the nearest
    fraction that they allow, if that is near: 0.15 is two of thirteen. Very many groups are drawn at random instead.
    """
    count = len(np.unique(groups))
    smallest = int(np.bincount(labels).min())
    if share < 1 / 20:
        part = Fraction(1, max(20, min(math.floor(1 / share), count, smallest)))
    else:
        part = Fraction(share).limit_denominator(20)
    least = min(count, smallest)
    if 0 < least < part.denominator:
        nearest = Fraction(share).limit_denominator(least)
        part = nearest if abs(nearest - share) <= NEAR * share else part
    if least < part.denominator:
        raise UserError(
            f"too few rows to split by group: {count} groups and {smallest} rows of the rarest label, "
            f"but a share of {share:.2g} needs {part.denominator} of each; set data.group to null or add rows"
        )
    if count * part.denominator > MOST_PLACES:
        return drawn_groups(groups, round(share * len(groups)), seed)
    folds = StratifiedGroupKFold(part.denominator, shuffle=True, random_state=seed).split(labels, labels, groups)
    return np.concatenate([taken for (_, taken), _ in zip(folds, range(part.numerator), strict=False)])


def drawn_groups(groups: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """Positions of the rows of groups drawn at random until they have as many rows as wanted; larger groups are passed over.

    For tens of thousands of groups, whose draw has the proportions of all classes without further care.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    order = order[sizes[order] <= rows]
    before = np.cumsum(sizes[order]) - sizes[order]
    return np.flatnonzero(np.isin(group, order[before < rows]))


def nested_subset(labels: np.ndarray, size: int, seed: int) -> np.ndarray:
    """Positions of `size` rows in which each class keeps its share; a smaller subset is part of every larger one.

    Each row's rank in its shuffled class is divided by the size of the class. Taking rows in the order of this fraction
    takes from all classes at the same pace.
    """
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    fraction = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled[labels[shuffled] == label]
        fraction[members] = (np.arange(len(members)) + 0.5) / len(members)
    return shuffled[np.argsort(fraction[shuffled], kind="stable")][:size]


def check_classes(split: np.ndarray, labels: np.ndarray, label_names: list[str]):
    """Raises UserError when a split has no row, train lacks a class, or test has rows of one class only."""
    for part, name in enumerate(SPLIT_NAMES):
        counts = np.bincount(labels[split == part], minlength=len(label_names))
        if counts.sum() == 0:
            raise UserError(f"no row is left in {name}; add rows or raise its share under split:")
        if part == TRAIN and counts.min() == 0:
            missing = label_names[int(counts.argmin())]
            raise UserError(
                f"train has {counts.sum()} rows and none of them is {missing!r}; raise split.train_rows or add rows"
            )
        if part == TEST and np.count_nonzero(counts) == 1:
            only = label_names[int(counts.argmax())]
            raise UserError(
                f"test has {counts.sum()} rows and all of them are {only!r}, so it says nothing about the other labels; "
                "raise split.test or split.test_rows, or add rows"
            )


def split_counts(split: np.ndarray, labels: np.ndarray, label_names: list[str]) -> dict[str, dict[str, int]]:
    """Number of `rows` in each split, and of the kept rows with each of the `labels`."""
    kept = labels[split >= 0]
    return {
        "rows": {name: int((split == part).sum()) for part, name in enumerate(SPLIT_NAMES)},
        "labels": {name: int((kept == label).sum()) for label, name in enumerate(label_names)},
    }


def evenly_spaced(split: np.ndarray, size: int) -> np.ndarray:
    """Ids of at most `size` of the kept rows, evenly spaced and rising."""
    kept = np.flatnonzero(split >= 0)
    return kept[np.linspace(0, len(kept) - 1, min(size, len(kept))).astype(int)]


def split_lines(rows: dict[str, int], dropped: dict[str, int], settings: Split) -> list[str]:
    """For the terminal: the rows of each split, the rows left out, and subsets that are smaller than asked for."""
    left_out = ", ".join(f"{count} {why}" for why, count in dropped.items() if count)
    kept = ", ".join(f"{count} {name} rows" for name, count in rows.items())
    tested = f"; test is fold {settings.fold} of {settings.folds}, counted from 0" if settings.folds else ""
    return [f"data/tokenized: {kept}" + (f"; dropped {left_out}" if left_out else "") + tested] + [
        f"split.{name}_rows is {wanted}, but {name} has only {rows[name]} rows: all are used"
        for name, wanted in (("train", settings.train_rows), ("test", settings.test_rows))
        if wanted is not None and rows[name] < wanted
    ]
