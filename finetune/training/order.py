"""The shuffled order of the training rows in an epoch, with rows of similar length in one batch."""

from collections.abc import Iterator, Sequence

import numpy as np

WINDOW = 50  # batches sorted together: enough for little padding, few enough to keep the order random


def shuffled_order(
    lengths: Sequence[int], batch_size: int, seed: int | Sequence[int], window: int = WINDOW
) -> list[np.ndarray]:
    """Positions of the rows of each batch: random, with rows of similar length in one batch.

    Rows are shuffled, sorted by length within windows of so many batches and cut into batches, which are shuffled. Every
    row comes once; only one batch can be smaller.
    """
    lengths = np.asarray(lengths)
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(lengths))
    batches = []
    for start in range(0, len(shuffled), window * batch_size):
        rows = shuffled[start : start + window * batch_size]
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        batches += [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    return [batches[index] for index in random.permutation(len(batches))]


class LengthBatches:
    """Batch sampler for a `DataLoader`: a new order for each epoch; runs with the same seed repeat these orders.

    A `window` of one batch draws the rows of a batch whatever their lengths are.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int, window: int = WINDOW):
        self.lengths, self.batch_size, self.seed, self.window = lengths, batch_size, seed, window
        self.epoch = 0

    def set_epoch(self, epoch: int):
        """Chooses the order of the next pass; both engines call it."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        # Two numbers make one seed, so that epoch 1 of seed 1 is not epoch 0 of seed 2.
        order = shuffled_order(self.lengths, self.batch_size, seed=[self.seed, self.epoch], window=self.window)
        return iter(batch.tolist() for batch in order)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size)
