"""Batches by length: every row once, little padding, the same order in every run."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from finetune.encoder.batches import padded
from finetune.rows.lengths import length_order
from finetune.training.order import LengthBatches, shuffled_order

LENGTHS = st.lists(st.integers(1, 128), min_size=1, max_size=600)


@given(lengths=LENGTHS, size=st.integers(1, 40), seed=st.integers(0, 99))
def test_every_row_comes_once(lengths, size, seed):
    for batches in (length_order(lengths, size), shuffled_order(lengths, size, seed)):
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
        assert len(batches) == -(-len(lengths) // size)
        assert max(map(len, batches)) <= size


def test_sorting_by_length_saves_most_of_the_padding():
    lengths = np.random.default_rng(0).integers(5, 100, 5000)

    def waste(batches):
        return sum(lengths[batch].max() * len(batch) for batch in batches) / lengths.sum() - 1

    plain = np.split(np.random.default_rng(1).permutation(5000), range(32, 5000, 32))
    assert waste(shuffled_order(lengths, 32, seed=0)) < 0.05 < 0.5 < waste(plain)


def test_every_epoch_has_its_own_order_and_always_the_same_one():
    sampler = LengthBatches([5, 6, 7, 8] * 30, batch_size=4, seed=1)
    first = list(sampler)
    sampler.set_epoch(1)
    second = list(sampler)
    sampler.set_epoch(0)
    assert first == list(sampler) != second
    assert len(first) == len(sampler) == 30


def test_rows_are_padded_to_the_longest_row_of_their_batch():
    batch = padded([[5, 6, 7], [8]], pad_id=1)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_window_of_one_batch_brings_other_rows_together_in_each_epoch():
    """40 rows of 40 lengths in batches of 8: sorted, each batch is the same five times; drawn, none is."""

    def batches(**window) -> set[frozenset[int]]:
        sampler, seen = LengthBatches(list(range(1, 41)), batch_size=8, seed=1, **window), []
        for epoch in range(5):
            sampler.set_epoch(epoch)
            seen += [frozenset(batch) for batch in sampler]
        assert len(seen) == 25
        assert all(len(batch) == 8 for batch in seen)
        return set(seen)

    assert len(batches()) == 5
    assert len(batches(window=1)) == 25
