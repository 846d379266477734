"""Rows of token ids or features as batches, each padded to its longest row."""

from collections.abc import Sequence

import numpy as np
import torch

from finetune.rows.pairs import typed_ids
from finetune.rows.token_ids import as_token_ids


class TokenRows:
    """Unpadded rows of token ids, as batches for an encoder; `ids` are lists, or `TokenIds` of any number of rows."""

    def __init__(self, ids: Sequence[Sequence[int]], pad_id: int):
        self.ids, self.pad_id = as_token_ids(ids), pad_id
        self.lengths = self.ids.lengths

    def batch(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of the rows at these positions, as `padded` returns them."""
        return padded([self.ids[position] for position in positions], self.pad_id)

    def select(self, positions: Sequence[int]) -> "TokenRows":
        """The rows at these positions, in this order."""
        return TokenRows(self.ids.select(positions), self.pad_id)


class FeatureRows:
    """Rows of features of shape [rows, hidden]; to the model, each is a text of one token."""

    def __init__(self, features: np.ndarray):
        self.features = torch.as_tensor(features)
        self.lengths = np.ones(len(features), np.int32)

    def batch(self, positions: Sequence[int]) -> dict[str, torch.Tensor]:
        """`input_ids` of shape [rows, 1, hidden] and `attention_mask` of shape [rows, 1]."""
        features = self.features[torch.as_tensor(positions)].unsqueeze(1)
        return {"input_ids": features, "attention_mask": torch.ones(features.shape[:2], dtype=torch.int64)}

    def select(self, positions: Sequence[int]) -> "FeatureRows":
        """The rows at these positions, in this order."""
        return FeatureRows(self.features[torch.as_tensor(positions)])


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> dict[str, torch.Tensor]:
    """`input_ids` and `attention_mask` of shape [rows, longest row], int64, padded on the right; `token_type_ids` of pairs."""
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(lengths.max()) < lengths[:, None]
    ids = np.full(mask.shape, pad_id, np.int64)
    ids[mask] = np.concatenate(rows)
    ids, types = typed_ids(ids)
    tensors = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask.astype(np.int64))}
    return tensors if types is None else tensors | {"token_type_ids": torch.from_numpy(types)}
