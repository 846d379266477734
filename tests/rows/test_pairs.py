"""Pairs of texts: the same tokens and types as transformers gives, cut the same way, in lists and in arrays."""

import random

import numpy as np
import pyarrow as pa
import pytest

from finetune.base.errors import UserError
from finetune.encoder.batches import padded
from finetune.rows.encoding import Encoder, pair_rows
from finetune.rows.form import Form, encoded
from finetune.rows.pairs import Pair, kept_lengths, pair_of, typed_ids
from finetune.rows.tokens import check_length, load_config, load_tokenizer, special_tokens
from tests.support.tiny import WORDS, tiny_checkpoint


def pairs(count: int = 60) -> list[tuple[str, str]]:
    chance = random.Random(1)
    return [tuple(" ".join(chance.choices(WORDS, k=chance.randint(0, 20))) for _ in range(2)) for _ in range(count)]


@pytest.mark.parametrize("family", ["bert", "electra", "roberta", "deberta-v2"])
@pytest.mark.parametrize("length", [7, 16, 64])
def test_a_pair_is_the_one_of_transformers_cut_from_the_longer_text(tmp_path, family, length):
    checkpoint = tiny_checkpoint(tmp_path, family)
    tokenizer = load_tokenizer(checkpoint)
    pair, special = pair_of(tokenizer, load_config(checkpoint)), special_tokens(tokenizer)
    rows = encoded(tokenizer, pairs(), Form(length, "head", special, pair))
    expected = tokenizer(*map(list, zip(*pairs(), strict=True)), truncation="longest_first", max_length=length)
    assert [[~token if token < 0 else token for token in row] for row in rows] == expected["input_ids"]
    assert pair.typed == (family in ("bert", "electra"))
    if pair.typed:
        assert [[int(token < 0) for token in row] for row in rows] == expected["token_type_ids"]
    encoder = Encoder(tokenizer)
    columns = [encoder.bare(pa.array(texts)) for texts in zip(*pairs(), strict=True)]
    for mode in ("head", "head_tail"):
        found = pair_rows(*columns, pair, length, mode).as_arrow().to_pylist()
        assert found == encoded(tokenizer, pairs(), Form(length, mode, special, pair))


def test_head_and_tail_of_each_text_are_kept():
    """Room for 12: the second text has 20 tokens and the first 4, so 8 of it stay: 2 from its start and 6 from its end."""
    pair = Pair([101], [102], [102], typed=True)
    second = list(range(50, 70))
    row = pair.row([1, 2, 3, 4], second, 15, "head_tail")
    assert row[:6] == [101, 1, 2, 3, 4, 102]
    assert [~token for token in row[6:]] == [50, 51, 64, 65, 66, 67, 68, 69, 102]
    assert pair.row([1, 2], [3], 6, "head") == [101, 1, 2, 102, ~3, ~102]


@pytest.mark.parametrize(
    ("lengths", "room", "kept"),
    [
        ((3, 4), 7, (3, 4)),
        ((3, 20), 10, (3, 7)),
        ((20, 3), 10, (7, 3)),
        ((20, 30), 11, (5, 6)),
        ((30, 20), 11, (6, 5)),
        ((0, 9), 5, (0, 5)),
    ],
)
def test_the_longer_text_is_cut_first(lengths, room, kept):
    assert tuple(map(int, kept_lengths(*lengths, room))) == kept


def test_a_tokenizer_that_puts_nothing_between_two_texts_has_no_pair(tmp_path):
    checkpoint = tiny_checkpoint(tmp_path, "modernbert")
    assert pair_of(load_tokenizer(checkpoint), load_config(checkpoint)) is None


def test_batches_have_token_types_only_of_pairs():
    batch = padded([[2, 5, 3, ~6, ~3], [2, 5, 3]], 0)
    assert batch["input_ids"].tolist() == [[2, 5, 3, 6, 3], [2, 5, 3, 0, 0]]
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 0, 0]]
    assert "token_type_ids" not in padded([[2, 5, 3]], 0)
    assert typed_ids(np.array([1, 2]))[1] is None


def test_a_pair_needs_room_for_a_token_of_each_text(tiny_bert):
    tokenizer, config = load_tokenizer(tiny_bert), load_config(tiny_bert)
    pair = pair_of(tokenizer, config)
    check_length(5, tokenizer, config, pair)
    with pytest.raises(UserError, match=r"tokenize\.max_length must be at least 5, found 4: special tokens take 3"):
        check_length(4, tokenizer, config, pair)
