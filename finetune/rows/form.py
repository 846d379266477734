"""How a model reads texts: how many tokens, which ones of a long text, and the texts of two columns as a pair."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from finetune.base.fields import Text, joined
from finetune.rows.pairs import Pair
from finetune.rows.tokens import SpecialTokens, encode, special_tokens, truncate, windows

Whole = list[int] | tuple[list[int], list[int]]  # ids with special tokens, or those of two texts without any


class Form(NamedTuple):
    """Tokens of a row, the part kept of a longer text, special tokens around a text, and around a pair."""

    max_length: int
    truncation: str
    special: SpecialTokens
    pair: Pair | None = None
    stride: int | None = None  # tokens that a window shares with the one before; None without windows

    def whole(self, texts: Sequence[Text], encode: Callable[[list[str], bool], list[list[int]]]) -> list[Whole]:
        """Every token of each text; `encode` takes texts, and whether to put special tokens around each."""
        if self.pair is None:
            return encode([joined(text) for text in texts], True)
        fields = encode([field or "" for text in texts for field in text], False)
        return list(zip(fields[::2], fields[1::2], strict=True))

    def row(self, whole: Whole) -> list[int] | list[list[int]]:
        """The row of token ids that the model reads, or the rows of a document's windows."""
        if self.stride is not None:
            return windows(whole, self.max_length, self.stride, self.special)
        if self.pair is None:
            return truncate(whole, self.max_length, self.truncation, self.special)
        return self.pair.row(*whole, self.max_length, self.truncation)

    def length(self, whole: Whole) -> int:
        """Tokens of a text without special ones."""
        return len(whole) - sum(self.special) if self.pair is None else sum(map(len, whole))

    def is_cut(self, whole: Whole) -> bool:
        """Whether the row lacks some of the tokens; windows lack none."""
        if self.stride is not None:
            return False
        special = sum(self.special) if self.pair is None else self.pair.special
        return self.length(whole) + special > self.max_length


def recorded_form(tokenizer, source: dict) -> Form:
    """The form of the rows in data/tokenized/, from its tokenizer and its source.json."""
    pair = Pair(*source["pair"]) if source.get("pair") else None
    stride = source["settings"]["tokenize"]["stride"] if source["truncation"] == "windows" else None
    return Form(tokenizer.model_max_length, source["truncation"], special_tokens(tokenizer), pair, stride)


def encoded(tokenizer, texts: Sequence[Text], form: Form) -> list[list[int]] | list[list[list[int]]]:
    """Rows of token ids of texts, or of their windows."""
    return [form.row(whole) for whole in form.whole(texts, lambda fields, special: encode(tokenizer, fields, special))]
