"""The shuffled order of the training rows in an epoch, with rows of similar length in one batch."""

from collections.abc import Iterator, Sequence

import numpy as np

WINDOW = 50  # batches that are sorted together: long enough for hardly any padding, short enough to stay random


def shuffled_order(lengths: Sequence[int], batch_size: int, seed: int) -> list[np.ndarray]:
    """Positions of each batch's rows in random order, yet with rows of similar length together.

    Rows are shuffled, sorted by length inside windows of 50 batches, cut into batches, and the
    batches shuffled. Every row comes once; only the last batch of a window can be smaller.
    """
    lengths = np.asarray(lengths)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(shuffled), WINDOW * batch_size):
        window = shuffled[start : start + WINDOW * batch_size]
        window = window[np.argsort(-lengths[window], kind="stable")]
        batches += [window[place : place + batch_size] for place in range(0, len(window), batch_size)]
    return [batches[place] for place in random.permutation(len(batches))]


class LengthBatches:
    """Batch sampler for a `DataLoader`: a new `shuffled_order` for each epoch, the same on every run."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int):
        """Chooses the order of the next pass; the Trainer calls it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        # Two numbers make one seed, so that epoch 1 of seed 1 is not epoch 0 of seed 2.
        order = shuffled_order(self.lengths, self.batch_size, seed=[self.seed, self.epoch])
        return iter(batch.tolist() for batch in order)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)
