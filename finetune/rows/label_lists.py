"""Several labels per text, as a column of lists of label ids and as a matrix."""

import numpy as np
import pyarrow as pa


def matrix_of(lists: pa.ChunkedArray, labels: int) -> np.ndarray:
    """A column of lists of label ids as bool of shape [rows, labels]."""
    cells = lists.combine_chunks()
    row = np.repeat(np.arange(len(cells)), cells.value_lengths().to_numpy(zero_copy_only=False))
    matrix = np.zeros((len(cells), labels), bool)
    matrix[row, cells.flatten().to_numpy()] = True
    return matrix


def label_lists(matrix: np.ndarray) -> pa.Array:
    """The reverse of `matrix_of`: a column of lists of label ids, from bool of shape [rows, labels]."""
    return pa.array([np.flatnonzero(row) for row in matrix], pa.list_(pa.int64()))
