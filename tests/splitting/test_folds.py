"""Folds of a cross-validation: every usable row in exactly one, by label and by group, the same for every run."""

import numpy as np
import pytest

from finetune.base.errors import UserError
from finetune.splitting import folds
from finetune.splitting.folds import drawn_folds, fold_of_rows
from finetune.splitting.splits import LEFT_OUT, TEST, TRAIN, VALIDATION, assign_splits, split_lines
from tests.splitting.test_splits import LABEL_NAMES, row_keys, split_settings


def runs(rows, count: int, **changes) -> list[np.ndarray]:
    """Split of each row in the run of each fold."""
    return [
        assign_splits(rows, split_settings(folds=count, fold=fold, **changes), LABEL_NAMES)[0] for fold in range(count)
    ]


def test_every_usable_row_is_tested_once_with_the_proportions_of_the_labels():
    """100 rows, 30 of them negative: a fifth of each is 6 negative and 14 positive; a tenth, 3 and 7, validate."""
    labels = np.array([0] * 30 + [1] * 70)
    parts = runs(row_keys(labels), 5)
    assert (sum(part == TEST for part in parts) == 1).all()
    for part in parts:
        assert [np.bincount(labels[part == name]).tolist() for name in (TEST, VALIDATION, TRAIN)] == [
            [6, 14],
            [3, 7],
            [21, 49],
        ]


def test_rows_that_cannot_be_used_stay_out_of_every_fold():
    """Of 46 rows one has no label, two are empty and three repeat a text: 40 are left, 8 in each fold."""
    labels = [0, 1] * 20 + [-1, 0, 1, 0, 1, 0]
    texts = [*range(1, 41), 50, 0, 0, 1, 2, 3]
    parts = runs(row_keys(labels, texts), 5)
    assert [np.flatnonzero(part == LEFT_OUT).tolist() for part in parts] == [list(range(40, 46))] * 5
    assert [int((part == TEST).sum()) for part in parts] == [8] * 5
    assert (sum(part == TEST for part in parts)[:40] == 1).all()


@pytest.mark.parametrize("places", [folds.MOST_PLACES, 0])
def test_a_group_is_never_on_both_sides(monkeypatch, places):
    """120 rows of 30 groups, in either way of placing groups; each fold has about a third of the rows."""
    monkeypatch.setattr(folds, "MOST_PLACES", places)
    random = np.random.default_rng(0)
    groups = random.integers(0, 30, 120)
    parts = runs(row_keys(random.integers(0, 2, 120), groups=groups), 3)
    assert (sum(part == TEST for part in parts) == 1).all()
    for part in parts:
        assert 25 <= (part == TEST).sum() <= 55
        assert all(len(set(part[groups == group])) == 1 for group in np.unique(groups))


def test_drawn_groups_fill_the_folds_one_after_another():
    """Four groups of two rows in two folds: two groups each, whatever the draw is."""
    groups = np.array([7, 7, 8, 8, 9, 9, 5, 5])
    fold = drawn_folds(groups, 2, seed=1)
    assert np.bincount(fold).tolist() == [4, 4]
    assert (fold[::2] == fold[1::2]).all()


def test_the_folds_depend_on_the_seed_and_on_nothing_else():
    rows = row_keys([0, 1] * 50)
    first = runs(rows, 5)
    other = runs(rows, 5, train_rows=30, validation=0.2, test=0.3, held_out_rows=10)
    assert all(((one == TEST) == (two == TEST)).all() for one, two in zip(first, other, strict=True))
    assert [int((part == TRAIN).sum()) for part in other] == [30] * 5
    assert [int((part == VALIDATION).sum()) for part in other] == [10] * 5  # held_out_rows bounds no fold
    assert any(((one == TEST) != (two == TEST)).any() for one, two in zip(first, runs(rows, 5, seed=1), strict=True))


@pytest.mark.parametrize(
    ("labels", "groups", "count", "message"),
    [
        (
            [0] * 4 + [1] * 96,
            None,
            5,
            "too few rows for 5 folds: 4 rows have the label 'negative', and each fold tests at least one row of each label; ",
        ),
        ([0, 1] * 20, [0, 1, 2, 2] * 10, 4, "too few groups for 4 folds: 3; lower split.folds"),
        # Both labels have many rows, but all negative ones belong to one group.
        (
            [0] * 10 + [1] * 30,
            [0] * 10 + [*range(1, 31)],
            3,
            "all rows with the label 'negative' are in groups of fold ",
        ),
    ],
)
def test_too_few_rows_are_found_before_anything_trains(labels, groups, count, message):
    """In the run of the first fold already, also if another fold is the one that lacks rows."""
    with pytest.raises(UserError) as error:
        assign_splits(row_keys(labels, groups=groups), split_settings(folds=count, fold=0), LABEL_NAMES)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_fold_of_one_label_is_refused():
    """Two groups hold both labels, the third only positive rows: one of three folds has one label."""
    labels = np.array([0, 1] * 4 + [0, 1] * 4 + [1] * 8)
    with pytest.raises(UserError, match="all 8 rows of fold . are 'positive': some groups are too large; lower split"):
        fold_of_rows(labels, np.repeat([1, 2, 3], 8), 3, 42, LABEL_NAMES)


def test_a_test_split_of_the_source_is_refused_and_its_validation_split_kept():
    labels = [0, 1] * 30
    with pytest.raises(
        UserError, match="split.folds is 5, but the source brings a test split of 10 rows, which no fold"
    ):
        runs(row_keys(labels, source=[TRAIN] * 50 + [TEST] * 10), 5)
    parts = runs(row_keys(labels, source=[TRAIN] * 50 + [VALIDATION] * 10), 5)
    assert all((part[50:] == VALIDATION).all() and (part == VALIDATION).sum() == 10 for part in parts)
    assert (sum(part == TEST for part in parts)[:50] == 1).all()


def test_the_terminal_names_the_fold():
    settings = split_settings(folds=5, fold=1)
    line = split_lines({"train": 7, "validation": 1, "test": 2}, {"subset": 0}, settings)[0]
    assert line.endswith("2 test rows; test is fold 1 of 5, counted from 0")
