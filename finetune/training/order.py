"""The shuffled order of the training rows in an epoch, with rows of similar length in one batch."""

from collections.abc import Iterator, Sequence

import numpy as np

WINDOW = 50  # batches sorted together: enough for little padding, few enough to keep the order random


def shuffled_order(lengths: Sequence[int], batch_size: int, seed: int | Sequence[int]) -> list[np.ndarray]:
    """Positions of the rows of each batch: random, with rows of similar length in one batch.

    Rows are shuffled, sorted by length within windows of 50 batches and cut into batches, which are shuffled. Every
    row comes once; only one batch can be smaller.
    """
    lengths = np.asarray(lengths)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(shuffled), WINDOW * batch_size):
        window = shuffled[start : start + WINDOW * batch_size]
        window = window[np.argsort(-lengths[window], kind="stable")]
        batches += [window[first : first + batch_size] for first in range(0, len(window), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


class LengthBatches:
    """Batch sampler for a `DataLoader`: a new order for each epoch; runs with the same seed repeat these orders."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int):
        """Chooses the order of the next pass; both engines call it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        # Two numbers make one seed, so that epoch 1 of seed 1 is not epoch 0 of seed 2.
        order = shuffled_order(self.lengths, self.batch_size, seed=[self.seed, self.epoch])
        return iter(batch.tolist() for batch in order)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)
