"""Token ids of many rows in Arrow's buffers: four bytes a token, and each row a numpy view."""

import copy
from collections.abc import Sequence

import numpy as np
import pyarrow as pa


class TokenIds(Sequence):
    """Rows of token ids, from a column of lists: `ids[3]` is an int32 view of the column's buffer, read-only.

    `lengths` holds the number of tokens of each row. A Python list of integers would take 36 bytes a token instead of 4.
    """

    def __init__(self, column: pa.ChunkedArray | pa.Array):
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        self.values = [chunk.values.to_numpy() for chunk in chunks]
        offsets = [chunk.offsets.to_numpy() for chunk in chunks]
        none = np.empty(0, np.int32)
        self.starts = np.concatenate([none, *(ends[:-1] for ends in offsets)])  # in the values of the row's chunk
        self.lengths = np.concatenate([none, *(np.diff(ends) for ends in offsets)])
        self.chunks = np.repeat(np.arange(len(chunks), dtype=np.int32), [len(chunk) for chunk in chunks])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, position: int) -> np.ndarray:
        if not 0 <= position < len(self):
            raise IndexError(f"row {position} of {len(self)}")
        start = self.starts[position]
        return self.values[self.chunks[position]][start : start + self.lengths[position]]

    def select(self, positions: Sequence[int]) -> "TokenIds":
        """The rows at these positions, in this order, in the same buffers."""
        chosen = copy.copy(self)
        positions = np.asarray(positions, np.int64)
        chosen.starts, chosen.lengths = self.starts[positions], self.lengths[positions]
        chosen.chunks = self.chunks[positions]
        return chosen


def as_token_ids(rows: Sequence[Sequence[int]]) -> TokenIds:
    """Rows of token ids in Arrow's buffers, also if they come as lists."""
    return rows if isinstance(rows, TokenIds) else TokenIds(pa.array(rows, pa.list_(pa.int32())))
