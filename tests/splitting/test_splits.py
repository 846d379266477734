"""Splits: by label, by group, never twice, and the same test rows whatever the subset."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune.base.errors import UserError
from finetune.base.params_data import Split
from finetune.splitting import splits
from finetune.splitting.keys import RowKeys
from finetune.splitting.splits import (
    LEFT_OUT,
    TEST,
    TRAIN,
    VALIDATION,
    assign_splits,
    drawn_groups,
    evenly_spaced,
    nested_subset,
    split_counts,
)

LABEL_NAMES = ["negative", "positive"]


def row_keys(labels, texts=None, groups=None, source=None) -> RowKeys:
    """Keys of rows; by default no two have the same text or group."""
    count = len(labels)
    return RowKeys(
        np.array(source if source is not None else [TRAIN] * count, np.int8),
        np.array(labels, np.int32),
        np.array(texts if texts is not None else range(1, count + 1), np.uint64),
        np.array(groups if groups is not None else range(count), np.uint64),
    )


def split_settings(**changes) -> Split:
    return Split(
        **{"validation": 0.1, "test": 0.1, "train_rows": None, "test_rows": None, "held_out_rows": None}
        | {"folds": None, "fold": None, "seed": 42}
        | changes
    )


def test_shares_and_class_proportions_are_kept():
    """100 rows, 30 of them negative: a tenth of each is 3 negative and 7 positive."""
    labels = [0] * 30 + [1] * 70
    split, dropped = assign_splits(row_keys(labels), split_settings(), LABEL_NAMES)
    assert [np.bincount(np.array(labels)[split == part]).tolist() for part in (TRAIN, VALIDATION, TEST)] == [
        [24, 56],
        [3, 7],
        [3, 7],
    ]
    assert dropped == {"empty": 0, "duplicate": 0, "unlabelled": 0, "group": 0, "subset": 0}


def test_rows_that_cannot_be_used_are_counted_by_reason():
    """Of 23 rows one has no label, two are empty, one repeats a text; an empty row without a label counts once."""
    labels = [0, 1] * 10 + [-1, 0, 1]
    texts = [*range(1, 20), 1, 30, 0, 0]
    split, dropped = assign_splits(row_keys(labels, texts), split_settings(validation=0.2, test=0.2), LABEL_NAMES)
    assert dropped == {"empty": 2, "duplicate": 1, "unlabelled": 1, "group": 0, "subset": 0}
    assert np.flatnonzero(split == LEFT_OUT).tolist() == [19, 20, 21, 22]


def test_the_test_split_of_the_source_is_kept_and_a_text_in_both_leaves_train():
    labels = [0, 1] * 20
    texts = [*range(1, 31), *range(1, 11)]
    source = [TRAIN] * 30 + [TEST] * 10
    split, dropped = assign_splits(row_keys(labels, texts, source=source), split_settings(), LABEL_NAMES)
    assert (split[30:] == TEST).all()
    assert (split[:10] == LEFT_OUT).all()
    assert dropped["duplicate"] == 10
    assert (split == VALIDATION).sum() == 2  # a tenth of the 20 rows left in train


def test_a_group_in_the_source_s_test_split_leaves_train():
    labels = [0, 1] * 20
    groups = [*range(30), *range(10)]
    source = [TRAIN] * 30 + [TEST] * 10
    split, dropped = assign_splits(row_keys(labels, groups=groups, source=source), split_settings(), LABEL_NAMES)
    assert dropped["group"] == 10
    assert (split[:10] == LEFT_OUT).all()


def test_a_test_split_without_labels_counts_as_none():
    labels = [0, 1] * 20 + [-1] * 10
    split, _ = assign_splits(row_keys(labels, source=[TRAIN] * 40 + [TEST] * 10), split_settings(), LABEL_NAMES)
    assert (split[40:] == LEFT_OUT).all()
    assert (split[:40] == TEST).sum() == 4


def test_a_test_split_of_one_label_alone_is_refused():
    """Its ROC curve has no points, and a model that always answers this label would look perfect."""
    labels = [0, 1] * 20 + [1] * 10
    with pytest.raises(UserError, match="test has 10 rows and all of them are 'positive', so it says nothing"):
        assign_splits(row_keys(labels, source=[TRAIN] * 40 + [TEST] * 10), split_settings(), LABEL_NAMES)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), groups=st.integers(25, 60), share=st.sampled_from([0.1, 0.15, 0.2]))
def test_no_text_and_no_group_is_in_two_splits(seed, groups, share):
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, 400)
    rows = row_keys(labels, texts=random.integers(1, 300, 400), groups=random.integers(0, groups, 400))
    split, _ = assign_splits(rows, split_settings(test=share, validation=share, seed=seed), LABEL_NAMES)
    kept = split != LEFT_OUT
    for column in (rows.text, rows.group):
        assert all(len(set(split[kept & (column == value)])) <= 1 for value in np.unique(column))
    assert len(np.unique(rows.text[kept])) == kept.sum()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), train_rows=st.integers(10, 200))
def test_test_rows_do_not_depend_on_train_rows_and_subsets_are_nested(seed, train_rows):
    labels = np.random.default_rng(seed).integers(0, 2, 300)
    parts = [
        assign_splits(row_keys(labels), split_settings(train_rows=count, seed=seed), LABEL_NAMES)[0]
        for count in (train_rows, train_rows + 30, None)
    ]
    small, large, whole = parts
    assert (small == TRAIN).sum() == train_rows
    assert (
        set(np.flatnonzero(small == TRAIN)) < set(np.flatnonzero(large == TRAIN)) < set(np.flatnonzero(whole == TRAIN))
    )
    for part in (VALIDATION, TEST):
        assert ((small == part) == (whole == part)).all()
        assert ((large == part) == (whole == part)).all()


def test_a_subset_keeps_the_class_proportions():
    """A quarter of 80 and 20 is 20 and 5."""
    labels = np.array([0] * 80 + [1] * 20)
    assert np.bincount(labels[nested_subset(labels, 25, seed=3)]).tolist() == [20, 5]


def held_out(split) -> list[int]:
    """Rows of train, validation and test, and rows left out."""
    return [int((split == part).sum()) for part in (TRAIN, VALIDATION, TEST, LEFT_OUT)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [360, 20, 20, 0]),  # the rows of larger shares train
        ({"held_out_rows": 40}, [320, 40, 40, 0]),  # a tenth of 400
        ({"held_out_rows": 60}, [320, 40, 40, 0]),
        ({"held_out_rows": None}, [320, 40, 40, 0]),
        ({"test_rows": 30}, [350, 20, 30, 0]),  # more test rows are asked for
        ({"test_rows": 10}, [360, 20, 10, 10]),  # taken out before they are counted, so that train stays the same
    ],
)
def test_validation_and_test_have_at_most_so_many_rows(changes, expected):
    labels = [0, 1] * 200
    split, dropped = assign_splits(row_keys(labels), split_settings(**{"held_out_rows": 20} | changes), LABEL_NAMES)
    assert held_out(split) == expected
    assert dropped["subset"] == expected[3]
    assert (np.array(labels)[split == TEST] == 0).mean() == 0.5


def test_too_many_rows_of_the_source_s_own_splits_are_left_out_and_counted():
    source = [TRAIN] * 50 + [VALIDATION] * 30 + [TEST] * 40
    split, dropped = assign_splits(row_keys([0, 1] * 60, source=source), split_settings(held_out_rows=20), LABEL_NAMES)
    assert held_out(split) == [50, 20, 20, 30]
    assert dropped["subset"] == 30


@pytest.mark.parametrize("places", [splits.MOST_PLACES, 0])
def test_groups_stay_together_where_few_rows_are_held_out(places, monkeypatch):
    """200 groups of 5 rows; with 0 places, as with tens of thousands of groups, groups are drawn at random."""
    monkeypatch.setattr(splits, "MOST_PLACES", places)
    groups = np.repeat(np.arange(1, 201), 5)
    rows = row_keys(np.arange(1000) % 2, groups=groups)
    split, dropped = assign_splits(rows, split_settings(held_out_rows=20), LABEL_NAMES)
    assert held_out(split) == [960, 20, 20, 0]  # a fold of 50 has four groups
    assert dropped["subset"] == 0
    assert all(len(set(split[groups == group])) == 1 for group in groups)


def test_a_group_with_more_rows_than_wanted_is_not_drawn():
    """Of 100 rows, 60 are one group and the others two each: 10 rows are five groups of two."""
    groups = np.array([0] * 60 + [1 + row // 2 for row in range(40)])
    for seed in range(20):
        drawn = drawn_groups(groups, 10, seed)
        assert len(drawn) == 10
        assert drawn.min() >= 60


def test_another_seed_gives_another_split():
    rows = row_keys([0, 1] * 100)
    one, other = (assign_splits(rows, split_settings(seed=seed), LABEL_NAMES)[0] for seed in (1, 2))
    assert (one != other).any()


@pytest.mark.parametrize(
    ("labels", "changes", "message"),
    [
        ([0, 1, 0], {}, "too few rows to split off test: 3 rows for 2 labels, 1 of them 'positive'"),
        ([-1] * 10, {}, "no row is left to train on: dropped 0 empty, 0 duplicate, 10 unlabelled"),
        ([0] * 20 + [1], {}, "1 of them 'positive'; each label needs at least 3 rows"),
        ([0, 1] * 50, {"train_rows": 1}, "train has 1 rows and none of them is"),
        ([0, 1] * 50, {"test_rows": 1}, "test has 1 rows and all of them are 'positive'.* raise split.test or"),
    ],
)
def test_too_few_rows_are_refused(labels, changes, message):
    with pytest.raises(UserError, match=message):
        assign_splits(row_keys(labels), split_settings(**changes), LABEL_NAMES)


def test_too_few_groups_are_refused():
    with pytest.raises(
        UserError, match=r"too few rows to split by group: 4 groups .* needs 10 of each; set data.group to null"
    ):
        assign_splits(row_keys([0, 1] * 50, groups=[0, 1, 2, 3] * 25), split_settings(), LABEL_NAMES)


def test_few_groups_give_the_nearest_share_that_they_allow():
    """A tenth of nine groups of ten rows is one of them; 0.15 of 19 is two of thirteen folds, each one group or two."""
    for count, share, expected in ((9, 0.1, {10}), (19, 0.15, {20, 30, 40})):
        rows = row_keys([0, 1] * (5 * count), groups=np.repeat(np.arange(count), 10))
        split, _ = assign_splits(rows, split_settings(test=share), LABEL_NAMES)
        assert (split == TEST).sum() in expected


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.integers(-1, 1), st.integers(0, 60), st.integers(0, 25), st.integers(0, 2)),
        min_size=1,
        max_size=120,
    ),
    sizes=st.tuples(st.none() | st.integers(1, 50), st.none() | st.integers(1, 50)),
)
def test_every_row_is_in_a_split_or_counted_once(rows, sizes):
    """Labels, texts and groups repeat, some rows have none, and the source may have splits of its own."""
    keys = row_keys(*(list(column) for column in zip(*rows, strict=True)))
    try:
        split, dropped = assign_splits(keys, split_settings(train_rows=sizes[0], test_rows=sizes[1]), LABEL_NAMES)
    except UserError:
        return
    assert (split != LEFT_OUT).sum() + sum(dropped.values()) == len(rows)
    used = split != LEFT_OUT
    assert (keys.label[used] >= 0).all()
    assert len(set(keys.text[used])) == used.sum()


def test_counts_and_samples_are_of_the_rows_that_are_kept():
    """Rows 1 and 6 are left out. The kept ones are 0, 2, 3, 4, 5; three of them, evenly spaced, are the first, middle and last."""
    split = np.array([TRAIN, LEFT_OUT, TEST, TRAIN, VALIDATION, TRAIN, LEFT_OUT])
    assert split_counts(split, np.array([0, 0, 1, 1, 0, 1, 1]), LABEL_NAMES) == {
        "rows": {"train": 3, "validation": 1, "test": 1},
        "labels": {"negative": 2, "positive": 3},
    }
    assert evenly_spaced(split, 3).tolist() == [0, 3, 5]
    assert evenly_spaced(split, 9).tolist() == [0, 2, 3, 4, 5]
