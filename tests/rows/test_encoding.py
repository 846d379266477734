"""Columns of texts turned into token ids: the same ids as from the tokenizer, with each word tokenised once."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import AddedToken
from transformers import BertTokenizer

from finetune.rows import encoding
from finetune.rows.encoding import Encoder, Ragged, cut, encodes_words_alone
from finetune.rows.tokens import SpecialTokens, encode, load_tokenizer, truncate
from tests.support.tiny import tiny_checkpoint

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
# Letters, marks, blanks that BERT keeps or removes, words of other scripts, and names of special tokens.
PARTS = [
    *"abB.-'[]",
    "é",
    "\u0301",
    "İ",
    "Σ",
    "ß",
    " ",
    "  ",
    "\t",
    "\n",
    "\x0b",
    "\u00a0",
    "\u3000",
    "\u200b",
    "你",
    "한",
]
PARTS += ["[MASK]", "[SEP]", "[mask]", "\ufffd", "\U0001f600"]


def bert(**options) -> BertTokenizer:
    words = [*SPECIAL, *"ab.-'[]e你", "##a", "##b", "ab", "##e", "σ", "s"]
    return BertTokenizer(vocab={word: number for number, word in enumerate(words)}, **options)


def rows_of(ragged: Ragged) -> list[list[int]]:
    return ragged.as_arrow().to_pylist()


TOKENIZERS = [bert(), bert(do_lower_case=False, strip_accents=False, tokenize_chinese_chars=False)]


@given(st.lists(st.lists(st.sampled_from(PARTS), max_size=12).map("".join), max_size=6))
@example(["", " ", "a  b", "\u0301a b", "a[MASK]b"])
def test_words_alone_give_the_tokens_of_the_whole_text(texts):
    for tokenizer in TOKENIZERS:
        assert encodes_words_alone(tokenizer)
        encoder = Encoder(tokenizer)
        for _ in range(2):  # the second time, all words are known
            assert rows_of(encoder(pa.array(texts, pa.string()))) == encode(tokenizer, texts)


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "albert", "deberta-v2"])
def test_every_tokenizer_gives_the_same_ids_as_without_a_column(tmp_path, family):
    tokenizer = load_tokenizer(tiny_checkpoint(tmp_path, family))
    texts = ["a great film", "", "great  film, really ", "a dull, dull plot", "film"]
    column = pa.array(["left out", *texts], pa.string())[1:]  # a part of a larger column
    assert rows_of(Encoder(tokenizer)(column)) == encode(tokenizer, texts)


def test_a_token_with_a_space_keeps_texts_whole():
    tokenizer = bert()
    tokenizer.add_tokens(AddedToken("a b"))
    assert not encodes_words_alone(tokenizer)
    assert rows_of(Encoder(tokenizer)(pa.array(["a b"]))) == encode(tokenizer, ["a b"])


def test_forgotten_words_are_tokenised_again(monkeypatch):
    monkeypatch.setattr(encoding, "MOST_WORDS", 2)
    encoder, texts = Encoder(bert()), ["a b ab", "ab ba", "a", "ba b"]
    for text in texts:
        assert rows_of(encoder(pa.array([text]))) == encode(encoder.tokenizer, [text])
    assert len(encoder.known) < 5  # a, b, ab, ba and what one batch adds


@given(st.lists(st.integers(2, 12), max_size=5), st.integers(3, 9), st.sampled_from(["head", "head_tail"]))
def test_rows_are_cut_as_single_lists_are(lengths, max_length, mode):
    rows = [list(range(100 * number, 100 * number + length)) for number, length in enumerate(lengths)]
    ragged = Ragged(np.array([token for row in rows for token in row], np.int32), np.array(lengths, np.int64))
    special = SpecialTokens(1, 1)
    assert rows_of(cut(ragged, max_length, mode, special)) == [truncate(row, max_length, mode, special) for row in rows]
