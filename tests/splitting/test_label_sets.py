"""Splits of rows with several labels."""

import numpy as np

from finetune.base.params_data import Split
from finetune.splitting.keys import RowKeys
from finetune.splitting.label_sets import LabelSets, assign_set_splits, set_counts, strata

IDS = {"a": 0, "b": 1, "c": 2}
SETTINGS = {"train_rows": None, "test_rows": None, "held_out_rows": None, "folds": None, "fold": None, "seed": 1}


def test_a_set_has_one_id_and_an_unknown_label_none():
    sets = LabelSets(IDS)
    assert [sets.get(cell, -1) for cell in (["b", "a"], [], ["a", "b"], ["d"], None, ["c"])] == [0, 1, 0, -1, -1, 2]
    assert sets.matrix(3).tolist() == [[True, True, False], [False, False, False], [False, False, True]]
    assert sets.of_rows(np.array([2, -1, 0])).tolist() == [(2,), (), (0, 1)]


def test_a_rare_set_belongs_to_its_rarest_label():
    """{a} and {b} have 40 rows each. {a, c} has 20 and {b, c} 15: c has 35 rows, the fewest, and both are in its stratum."""
    ids = np.repeat([0, 1, 2, 3], [40, 40, 20, 15])
    assert [len(set(strata(ids, [(0,), (1,), (0, 2), (1, 2)], 3)[ids == one])) for one in range(4)] == [1] * 4
    first, second, third, fourth = strata(ids, [(0,), (1,), (0, 2), (1, 2)], 3)[[0, 40, 80, 100]]
    assert third == fourth
    assert len({first, second, third}) == 3


def test_groups_stay_together_and_each_label_keeps_its_share():
    random = np.random.default_rng(3)
    sets = LabelSets(IDS)
    cells = [
        [name for name, share in (("a", 0.5), ("b", 0.3), ("c", 0.1)) if random.random() < share] for _ in range(2000)
    ]
    ids = np.array([sets.get(cell, -1) for cell in cells], np.int32)
    groups = random.integers(1, 300, 2000).astype(np.uint64)
    texts = np.arange(1, 2001).astype(np.uint64)
    texts[1] = texts[0]
    keys = RowKeys(np.zeros(2000, np.int8), ids, texts, groups)
    split, dropped = assign_set_splits(keys, sets, Split(validation=0.1, test=0.1, **SETTINGS), list(IDS))
    assert dropped["duplicate"] == 1
    assert [
        len(set(groups[split == part]) & set(groups[split == other])) for part, other in ((0, 1), (0, 2), (1, 2))
    ] == [0, 0, 0]
    matrix = sets.matrix(3)[ids]
    shares = np.array([matrix[split == part].mean(0) for part in range(3)])
    assert np.abs(shares - matrix.mean(0)).max() < 0.03
    counts = set_counts(split, ids, sets, list(IDS))
    assert sum(counts["rows"].values()) == 1999
