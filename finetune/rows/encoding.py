"""Columns of texts turned into token ids, in numpy arrays: no Python integer for a token, and each word tokenised once."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finetune.rows.pairs import Pair, kept_lengths
from finetune.rows.tokens import SpecialTokens, encode, special_tokens

MOST_WORDS = 50_000  # remembered from batch to batch, about 10 MB; when there are more, all are forgotten
# Parts of a tokenizer that look at a word without its neighbours. The subwords of others, such as byte-level ones, depend
# on the space before a word, or cross it.
SPLITS_AT_SPACES = ("BertPreTokenizer", "Whitespace", "WhitespaceSplit")
CHANGES_SINGLE_WORDS = ("BertNormalizer", "Lowercase", "StripAccents", "NFD", "NFC", "NFKD", "NFKC", "NoneType")


class Ragged(NamedTuple):
    """Rows of different lengths in one array: the values of all rows, and the number of values in each."""

    values: np.ndarray
    lengths: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Position of each row's first value."""
        return np.cumsum(self.lengths) - self.lengths

    def as_arrow(self) -> pa.ListArray:
        """The rows as a column of lists of int32."""
        offsets = np.zeros(len(self.lengths) + 1, np.int32)
        np.cumsum(self.lengths, out=offsets[1:])
        return pa.ListArray.from_arrays(offsets, self.values.astype(np.int32, copy=False))


def pieces(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The pieces of `values` that start there and are that long, one after another.

    >>> pieces(np.array([10, 11, 12, 13]), np.array([2, 0]), np.array([2, 1])).tolist()
    [12, 13, 10]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return values[np.repeat(starts - (ends - lengths), lengths) + np.arange(total)]


def cut(rows: Ragged, max_length: int, mode: str, special: SpecialTokens) -> Ragged:
    """Every row as `tokens.truncate` cuts it."""
    room = max_length - sum(special)
    head = room if mode == "head" else room // 4
    tail = room - head + special.after
    too_long = rows.lengths > max_length
    # Each row is two pieces: its start, and its end if something between them is left out.
    starts = np.column_stack([rows.starts, rows.starts + rows.lengths - tail])
    lengths = np.column_stack([np.where(too_long, special.before + head, rows.lengths), np.where(too_long, tail, 0)])
    return Ragged(pieces(rows.values, starts.ravel(), lengths.ravel()), lengths.sum(1))


def pair_rows(one: Ragged, other: Ragged, pair: Pair, max_length: int, mode: str) -> Ragged:
    """Every pair as `Pair.row` makes it, from the token ids of two columns without special tokens."""
    kept = kept_lengths(one.lengths, other.lengths, max_length - pair.special)
    second, after = other.values, np.array(pair.after, np.int32)
    if pair.typed:
        second, after = ~second, ~after
    specials = (np.array(pair.before, np.int32), np.array(pair.between, np.int32), after)
    blocks = [*specials, one.values, second]
    offsets = np.cumsum([0, *map(len, blocks)])
    starts, lengths = [], []

    def add(start, length):
        starts.append(np.broadcast_to(start, one.lengths.shape))
        lengths.append(np.broadcast_to(length, one.lengths.shape))

    for number, (text, stays) in enumerate(zip((one, other), kept, strict=True)):
        add(offsets[number], len(specials[number]))
        whole = text.lengths <= stays
        head = np.where(whole | (mode == "head"), stays, stays // 4)
        place = offsets[3 + number] + text.starts
        add(place, head)
        add(place + text.lengths - (stays - head), stays - head)
    add(offsets[2], len(after))
    lengths = np.column_stack(lengths)
    return Ragged(pieces(np.concatenate(blocks), np.column_stack(starts).ravel(), lengths.ravel()), lengths.sum(1))


class Encoder:
    """Encodes columns of texts with a tokenizer: token ids not truncated, special tokens included.

    Most words of a batch are known from earlier ones. If the tokenizer looks at each word alone, as BERT's does, only new
    words are tokenised: a million texts of 45 tokens take 4 s instead of 27. The ids are the same.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.by_word = encodes_words_alone(tokenizer)
        whole, special = encode(tokenizer, ["a"])[0], special_tokens(tokenizer)
        self.around = whole[: special.before], whole[len(whole) - special.after :]
        self.forget()

    def forget(self):
        """Empties the memory of words."""
        self.known: dict[str, int] = {}
        self.words = Ragged(np.empty(0, np.int32), np.empty(0, np.int64))

    def __call__(self, texts: pa.Array) -> Ragged:
        """Token ids of each text of a column without nulls."""
        if not self.by_word:
            return ragged(encode(self.tokenizer, texts.to_pylist()))
        return self.surrounded(self.bare(texts))

    def bare(self, texts: pa.Array) -> Ragged:
        """Token ids of each text without special tokens."""
        if not self.by_word:
            return ragged(encode(self.tokenizer, texts.to_pylist(), special=False))
        split = pc.split_pattern(texts, " ")
        spelt = split.flatten().dictionary_encode()
        numbers = self.numbers(spelt.dictionary.to_pylist())[spelt.indices.to_numpy()]
        lengths = self.words.lengths[numbers]
        ids = pieces(self.words.values, self.words.starts[numbers], lengths)
        ends = np.concatenate([[0], np.cumsum(lengths)])[split.offsets.to_numpy() - split.offsets[0].as_py()]
        return Ragged(ids, np.diff(ends))

    def numbers(self, words: list[str]) -> np.ndarray:
        """Number of each word in `self.words`, which new words join."""
        if len(self.known) > MOST_WORDS:
            self.forget()
        new = [word for word in words if word not in self.known]
        if new:
            backend = self.tokenizer.backend_tokenizer
            encoded = ragged([one.ids for one in backend.encode_batch_fast(new, add_special_tokens=False)])
            self.known.update(zip(new, range(len(self.known), len(self.known) + len(new)), strict=True))
            self.words = Ragged(*map(np.concatenate, zip(self.words, encoded, strict=True)))
        return np.fromiter(map(self.known.__getitem__, words), np.int64, len(words))

    def surrounded(self, rows: Ragged) -> Ragged:
        """Rows with the special tokens before and after each."""
        before, after = self.around
        values = np.concatenate([np.array([*before, *after], np.int32), rows.values])
        parts = np.empty((len(rows.lengths), 3), np.int64)
        starts, lengths = parts.copy(), parts
        starts[:] = np.array([0, 0, len(before)])
        starts[:, 1] = rows.starts + len(before) + len(after)
        lengths[:] = np.array([len(before), 0, len(after)])
        lengths[:, 1] = rows.lengths
        return Ragged(pieces(values, starts.ravel(), lengths.ravel()), lengths.sum(1))


def ragged(rows: list[list[int]]) -> Ragged:
    """Lists of token ids in one array."""
    column = pa.array(rows, pa.list_(pa.int32()))
    return Ragged(column.values.to_numpy(), np.diff(column.offsets.to_numpy()).astype(np.int64))


def encodes_words_alone(tokenizer) -> bool:
    """Whether the tokens of a text are those of its parts between spaces, whatever the parts are."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or type(backend.pre_tokenizer).__name__ not in SPLITS_AT_SPACES:
        return False
    if type(backend.normalizer).__name__ not in CHANGES_SINGLE_WORDS:
        return False
    # A token that was added to the vocabulary is found before words are split, so it may hold a space.
    return not any(" " in token.content for token in backend.get_added_tokens_decoder().values())
