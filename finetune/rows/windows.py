"""Long texts as overlapping windows: a document is a row of windows, each with the special tokens around it.

As `stride` and `return_overflowing_tokens` in transformers: a window begins so many tokens before the end of the one before.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from finetune.base.errors import UserError
from finetune.rows.encoding import Ragged, pieces
from finetune.rows.pairs import Pair
from finetune.rows.token_ids import TokenIds
from finetune.rows.tokens import SpecialTokens


def window_column(whole: Ragged, max_length: int, stride: int, special: SpecialTokens) -> pa.ListArray:
    """A column of documents, each a list of the windows that `tokens.windows` gives, from rows with special tokens."""
    room = max_length - sum(special)
    inner = whole.lengths - sum(special)
    counts = np.maximum(1, -(-(inner - stride) // (room - stride)))
    owner = np.repeat(np.arange(len(counts)), counts)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    first = number * (room - stride)
    length = np.minimum(room, inner[owner] - first)
    begin = whole.starts[owner]
    starts = np.column_stack([begin, begin + special.before + first, begin + whole.lengths[owner] - special.after])
    lengths = np.column_stack([np.full(len(owner), special.before), length, np.full(len(owner), special.after)])
    rows = Ragged(pieces(whole.values, starts.ravel(), lengths.ravel()), lengths.sum(1))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, rows.as_arrow())


class Documents(Sequence):
    """Rows of windows in Arrow's buffers, from a column of lists of lists of token ids.

    `windows` are those of all documents, one after another, `counts` how many each has, `lengths` the tokens of each document,
    overlaps counted twice. `documents[3]` is the list of its windows.
    """

    def __init__(self, windows: TokenIds, counts: np.ndarray):
        self.windows, self.counts = windows, counts
        self.ends = np.cumsum(counts)
        self.lengths = np.add.reduceat(windows.lengths, self.ends - counts) if len(counts) else windows.lengths

    @classmethod
    def of_column(cls, column: pa.ChunkedArray) -> "Documents":
        """Documents of a stored column."""
        chunks = column.chunks
        counts = [np.diff(chunk.offsets.to_numpy()) for chunk in chunks]
        inner = [chunk.flatten() for chunk in chunks]
        return cls(TokenIds(pa.chunked_array(inner, pa.list_(pa.int32()))), np.concatenate([np.empty(0, int), *counts]))

    @property
    def owners(self) -> np.ndarray:
        """Position of the document of each window."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, position: int) -> list[np.ndarray]:
        end = self.ends[position]
        return [self.windows[window] for window in range(end - self.counts[position], end)]

    def positions(self, documents: Sequence[int]) -> np.ndarray:
        """Positions of the windows of these documents, in the order of the documents."""
        documents = np.asarray(documents, np.int64)
        counts = self.counts[documents]
        return pieces(np.arange(len(self.windows)), (self.ends - self.counts)[documents], counts)

    def select(self, documents: Sequence[int]) -> "Documents":
        """These documents, in this order, in the same buffers."""
        documents = np.asarray(documents, np.int64)
        return Documents(self.windows.select(self.positions(documents)), self.counts[documents])


def as_documents(rows: Sequence) -> Documents | None:
    """Rows of windows as `Documents`, also if they come as lists; None for rows of token ids."""
    if isinstance(rows, Documents):
        return rows
    if isinstance(rows, TokenIds) or not len(rows) or not len(rows[0]) or not isinstance(rows[0][0], list | np.ndarray):
        return None
    windows = TokenIds(pa.array([window for row in rows for window in row], pa.list_(pa.int32())))
    return Documents(windows, np.array([len(row) for row in rows]))


def pooled(answers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the windows of each document, of answers of shape [windows, …]."""
    sums = np.add.reduceat(answers.astype(np.float64), np.cumsum(counts) - counts, axis=0)
    return (sums / counts.reshape(-1, *[1] * (answers.ndim - 1))).astype(answers.dtype)


def check_windows(stride: int | None, max_length: int, special: SpecialTokens, pair: Pair | None):
    """Raises UserError for windows of pairs, and if special tokens and the overlap leave a window no new token."""
    if stride is not None and pair is not None:
        raise UserError(
            "tokenize.truncation: windows is for one text, and data.text names two columns, which are read as a pair; set head or "
            "head_tail, or join the columns in your data"
        )
    room = max_length - sum(special)
    if stride is not None and stride >= room:
        raise UserError(
            f"tokenize.stride must be below {room}, the tokens of a window without special ones, found {stride}"
        )
