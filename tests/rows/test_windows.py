"""Documents as windows: those of transformers, in lists and in arrays, and their means."""

import random

import numpy as np
import pyarrow as pa
import pytest

from finetune.base.errors import UserError
from finetune.rows.encoding import Encoder
from finetune.rows.tokens import SpecialTokens, encode, load_tokenizer, special_tokens, windows
from finetune.rows.windows import Documents, as_documents, check_windows, pooled, window_column
from tests.support.tiny import WORDS, tiny_checkpoint


@pytest.mark.parametrize("family", ["bert", "roberta"])
@pytest.mark.parametrize(("length", "stride"), [(8, 0), (8, 3), (16, 4), (64, 16)])
def test_windows_are_those_of_transformers(tmp_path, family, length, stride):
    tokenizer = load_tokenizer(tiny_checkpoint(tmp_path, family))
    chance, special = random.Random(1), special_tokens(tokenizer)
    texts = [" ".join(chance.choices(WORDS, k=size)) for size in (0, 1, 5, 6, 7, 14, 20, 63, 100)]
    found = [windows(ids, length, stride, special) for ids in encode(tokenizer, texts)]
    column = window_column(Encoder(tokenizer)(pa.array(texts)), length, stride, special)
    assert column.to_pylist() == found
    options = {"truncation": True, "max_length": length, "stride": stride, "return_overflowing_tokens": True}
    for text, rows in zip(texts, found, strict=True):
        assert rows == tokenizer(text, **options)["input_ids"]


def test_documents_are_views_and_can_be_selected():
    column = pa.chunked_array([[[[1, 2], [3]], [[4]]], [[[5], [6, 7], [8]]]], pa.list_(pa.list_(pa.int32())))
    documents = Documents.of_column(column)
    assert [[window.tolist() for window in row] for row in documents] == column.to_pylist()
    assert (documents.counts.tolist(), documents.lengths.tolist()) == ([2, 1, 3], [3, 1, 4])
    assert documents.owners.tolist() == [0, 0, 1, 2, 2, 2]
    chosen = documents.select([2, 0])
    assert [[window.tolist() for window in row] for row in chosen] == [[[5], [6, 7], [8]], [[1, 2], [3]]]
    assert documents.positions([2, 0]).tolist() == [3, 4, 5, 0, 1]
    assert as_documents([[1, 2], [3]]) is None
    assert as_documents([[[1, 2], [3]], [[4]]]).counts.tolist() == [2, 1]


def test_answers_of_windows_are_averaged_by_document():
    """(1 + 3) / 2 = 2 and (2 + 6) / 2 = 4 of two windows, and the third alone."""
    found = pooled(np.array([[1, 2], [3, 6], [5, 0]], np.float32), np.array([2, 1]))
    assert found.tolist() == [[2, 4], [5, 0]]
    assert found.dtype == np.float32


def test_a_stride_leaves_each_window_a_new_token():
    check_windows(5, 8, SpecialTokens(1, 1), None)
    with pytest.raises(UserError, match=r"tokenize\.stride must be below 6, .*, found 6"):
        check_windows(6, 8, SpecialTokens(1, 1), None)
