"""Batches of rows of similar length, padded to their own longest row."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

# Tokens that a processor computes at once, at most: what more of them leave behind falls out of its cache. At 256 tokens a
# row, training in parts of this many was 1.6 times as fast as in whole batches of 32 rows (docs/benchmarks.md).
CACHED_TOKENS = 2048
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


class TokenRows:
    """Rows of token ids, not padded, as batches for an encoder."""

    def __init__(self, ids: Sequence[Sequence[int]], pad_id: int):
        self.ids, self.pad_id = ids, pad_id
        self.lengths = [len(row) for row in ids]

    def batch(self, places: Sequence[int]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of the rows at these positions, as `padded` makes them."""
        return padded([self.ids[place] for place in places], self.pad_id)


class FeatureRows:
    """Rows of features of shape [rows, hidden], each in the place of a text of one token."""

    def __init__(self, features: np.ndarray):
        self.features = torch.as_tensor(features)
        self.lengths = [1] * len(features)

    def batch(self, places: Sequence[int]) -> dict[str, torch.Tensor]:
        """`input_ids` of shape [rows, 1, hidden] and `attention_mask` of shape [rows, 1]."""
        features = self.features[torch.as_tensor(places)].unsqueeze(1)
        return {"input_ids": features, "attention_mask": torch.ones(features.shape[:2], dtype=torch.int64)}


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of shape [rows, longest row], padded on the right."""
    ids = torch.full((len(rows), max(map(len, rows))), pad_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.as_tensor(row)
        mask[place, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
