"""Labels that are probably wrong."""

import numpy as np
import pytest

from finetune.evaluation.suspicious_labels import folds, held_out_probabilities, suspicious_labels
from tests.evaluation.test_near_duplicates import WORDS, sentences


def test_folds_keep_groups_together_and_each_row_is_held_out_once():
    labels = np.arange(40) % 2
    groups = [f"g{row // 4}" if row < 32 else None for row in range(40)]
    held = []
    for fitted, out in folds(labels, groups):
        assert not {groups[row] for row in fitted if groups[row]} & {groups[row] for row in out}
        held += out.tolist()
    assert sorted(held) == list(range(40))


@pytest.mark.parametrize(
    "groups",
    [[None] * 12, ["a"] * 6 + ["b"] * 6, ["a"] * 12],
    ids=["no groups", "a group a label", "one group"],
)
def test_few_rows_are_held_out_without_a_warning(groups):
    texts, labels = sentences(12, 4), np.array([0] * 6 + [1] * 6)
    found = held_out_probabilities(texts, labels, groups, 3)
    if len(set(groups)) == 1 and groups[0]:
        assert found is None
        assert len(suspicious_labels(labels, found)) == 0
    else:
        assert found.sum(1) == pytest.approx(np.ones(12))
        assert (found[:, 2] == 0).all()  # a class without rows


def test_a_class_may_have_a_single_row():
    labels = np.array([0] * 6 + [1] * 5 + [2])
    assert held_out_probabilities(sentences(12, 5), labels, [None] * 12, 3).sum(1) == pytest.approx(np.ones(12))


def test_labels_that_were_swapped_are_suspected_first():
    """40 rows of two clearly different classes, two labels swapped by hand."""
    texts = [f"{'river stone' if row % 2 else 'candle market'} {WORDS[row % 7]}" for row in range(40)]
    labels = np.arange(40) % 2
    labels[[6, 21]] = 1 - labels[[6, 21]]
    found = suspicious_labels(labels, held_out_probabilities(texts, labels, [None] * 40, 2))
    assert set(found[:2]) == {6, 21}


@pytest.mark.parametrize("labels", [[0] * 20, [1] * 20, [0] * 19 + [1], [0, 2] * 10])
def test_few_rows_and_missing_classes_raise_no_warning(labels):
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), 20)
    assert set(suspicious_labels(np.array(labels), probabilities)) <= set(range(20))
