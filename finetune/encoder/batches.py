"""Rows of token ids or features as batches, each padded to its longest row."""

from collections.abc import Sequence

import numpy as np
import torch


class TokenRows:
    """Unpadded rows of token ids, as batches for an encoder."""

    def __init__(self, ids: Sequence[Sequence[int]], pad_id: int):
        self.ids, self.pad_id = ids, pad_id
        self.lengths = [len(row) for row in ids]

    def batch(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of the rows at these positions, as `padded` returns them."""
        return padded([self.ids[position] for position in positions], self.pad_id)


class FeatureRows:
    """Rows of features of shape [rows, hidden]; to the model, each is a text of one token."""

    def __init__(self, features: np.ndarray):
        self.features = torch.as_tensor(features)
        self.lengths = [1] * len(features)

    def batch(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """`input_ids` of shape [rows, 1, hidden] and `attention_mask` of shape [rows, 1]."""
        features = self.features[torch.as_tensor(positions)].unsqueeze(1)
        return {"input_ids": features, "attention_mask": torch.ones(features.shape[:2], dtype=torch.int64)}


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of shape [rows, longest row], padded on the right."""
    ids = torch.full((len(rows), max(map(len, rows))), pad_id, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.as_tensor(row)
        mask[index, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask}
