"""Batches of similar length: no more rows or tokens than allowed, and hardly fewer."""

import numpy as np

from finetune.rows.lengths import length_order


def test_prediction_starts_with_the_longest_rows():
    assert [batch.tolist() for batch in length_order([3, 9, 5, 9], 2)] == [[1, 3], [2, 0]]


def test_a_batch_has_no_more_tokens_than_it_may_and_at_least_one_row():
    """Padded to its longest, in 20 tokens: 30 alone, 9 and 8 are 18, 5 three times is 15, more rows would pass 20 or 3."""
    batches = length_order([5, 30, 8, 5, 9, 5, 4], rows=3, tokens=20)
    assert [batch.tolist() for batch in batches] == [[1], [4, 2], [0, 3, 5], [6]]


def test_batches_limited_by_tokens_hold_every_row_once_and_are_nearly_full():
    lengths = np.random.default_rng(1).integers(1, 300, 500)
    batches = length_order(lengths, rows=500, tokens=256)
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        assert len(batch) == 1 or lengths[batch].max() * len(batch) <= 256
    assert len(batches) < 1.3 * lengths.sum() / 256 + (lengths > 128).sum()
