"""Batches of similar length: never more rows or tokens than allowed, and nearly as many."""

import numpy as np

from finetune.rows.lengths import length_order


def test_prediction_starts_with_the_longest_rows():
    assert [batch.tolist() for batch in length_order([3, 9, 5, 9], 2)] == [[1, 3], [2, 0]]


def test_a_batch_has_at_most_the_allowed_tokens_and_at_least_one_row():
    """Within 20 tokens and 3 rows, padded: 30 alone; 2 rows of 9 are 18; 3 rows of 5 are 15; the 4 is left over."""
    batches = length_order([5, 30, 8, 5, 9, 5, 4], rows=3, tokens=20)
    assert [batch.tolist() for batch in batches] == [[1], [4, 2], [0, 3, 5], [6]]


def test_batches_limited_by_tokens_hold_every_row_once_and_are_nearly_full():
    lengths = np.random.default_rng(1).integers(1, 300, 500)
    batches = length_order(lengths, rows=500, tokens=256)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= 256
    assert len(batches) < 1.3 * lengths.sum() / 256 + (lengths > 128).sum()
