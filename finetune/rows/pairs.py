"""Two texts as one row of token ids: a pair, as tokenizers make it for paraphrase or entailment.

A row holds the tokens of both texts. Where the encoder has token types (`token_type_ids`), a token of the second text is
stored as its complement, ~id, which is negative: so a row stays one list of integers, and batches take the types from the signs.
"""

from itertools import groupby
from typing import NamedTuple

import numpy as np

from finetune.base.fields import SEPARATOR


class Pair(NamedTuple):
    """The special tokens before, between and after two texts; `typed` says whether the encoder has token types."""

    before: list[int]
    between: list[int]
    after: list[int]
    typed: bool

    @property
    def special(self) -> int:
        """Number of special tokens."""
        return len(self.before) + len(self.between) + len(self.after)

    def row(self, one: list[int], other: list[int], max_length: int, mode: str) -> list[int]:
        """Ids of the pair, the longer text cut first, from those of the two texts without special tokens."""
        first, second = kept_lengths(len(one), len(other), max_length - self.special)
        second_part = [*part(other, int(second), mode), *self.after]
        marked = [~token for token in second_part] if self.typed else second_part
        return [*self.before, *part(one, int(first), mode), *self.between, *marked]


def kept_lengths(first, second, room: int):
    """How many tokens stay of two texts, numbers or arrays of them, as `longest_first` in the tokenizers library.

    The longer text is cut to what the shorter one leaves; if both are longer than half of the room, each gets half of it, and
    the second of an odd number one more.

    >>> tuple(map(int, kept_lengths(3, 20, 10))), tuple(map(int, kept_lengths(20, 30, 11)))
    ((3, 7), (5, 6))
    """
    first, second = np.asarray(first), np.asarray(second)
    swapped = first > second
    short, long = np.minimum(first, second), np.maximum(first, second)
    fits = first + second <= room
    # As in the library: the shorter text stays if the longer one is left at least as many tokens.
    left = np.where(short > room, short, np.maximum(short, room - short))
    halved = short + left > room
    short_kept = np.where(halved, room // 2, short)
    long_kept = np.where(halved, room // 2 + room % 2, np.minimum(left, long))
    kept = np.where(swapped, long_kept, short_kept), np.where(swapped, short_kept, long_kept)
    return np.where(fits, first, kept[0]), np.where(fits, second, kept[1])


def part(ids: list[int], kept: int, mode: str) -> list[int]:
    """The `kept` first ids of a text; with `head_tail` its first quarter and its end."""
    if len(ids) <= kept:
        return ids
    head = kept if mode == "head" else kept // 4
    return ids[:head] + ids[len(ids) - (kept - head) :]


def pair_of(tokenizer, config) -> Pair | None:
    """How a tokenizer joins two texts, found by encoding a pair; None if it puts nothing between them.

    None also for token types that are not 0 up to the separator and 1 from there on.
    """
    found = tokenizer("a", "b", return_special_tokens_mask=True, return_token_type_ids=True)
    ids, types = found["input_ids"], found["token_type_ids"]
    runs = [(special, len(list(run))) for special, run in groupby(found["special_tokens_mask"])]
    if runs[0][0] == 0:
        runs = [(1, 0), *runs]
    if runs[-1][0] == 0:
        runs = [*runs, (1, 0)]
    if len(runs) != 5:
        return None
    ends = np.cumsum([length for _, length in runs]).tolist()
    first = [0] * ends[2] + [1] * (ends[4] - ends[2])
    typed = "token_type_ids" in tokenizer.model_input_names and (getattr(config, "type_vocab_size", None) or 0) >= 2
    if typed and types != first:
        if any(types):
            return None
        typed = False
    return Pair(ids[: ends[0]], ids[ends[1] : ends[2]], ids[ends[3] :], typed)


def typed_ids(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Token ids, and the type of each token (0 or 1); None if no token is of a second text."""
    types = ids < 0
    return (np.where(types, ~ids, ids), types.astype(ids.dtype)) if types.any() else (ids, None)


def reading(pair: Pair | None) -> str:
    """How the columns become one input, for the terminal."""
    return "a pair" if pair else f"one text, joined by {SEPARATOR!r}"
