"""How far each word pushes a text's class: the answer with the word against the answer without it.

Leaving a word out is called occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks";
Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through Representation Erasure", for words).
"""

import math
import re
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

import numpy as np

from finetune.base.fields import SEPARATOR, Text, joined
from finetune.evaluation.words import SPACELESS
from finetune.runtime.classifier import Classifier

MOST = 128  # words left out one by one; in a longer text neighbours are left out together, so that the cost is bounded
# Apostrophes and hyphens belong to words; in scripts without spaces every letter is a word.
MARKS = r"!-&(-,./:-@\[-^`{-~\u00a1-\u00bf\u2010-\u2018\u201a-\u205e\u3000-\u303f\uff01-\uff0f\uff1a-\uff20"
WORD = re.compile(rf"[{SPACELESS}]|[^\s{SPACELESS}{MARKS}]+|[{MARKS}]+")


class Parts(NamedTuple):
    """A text in parts that join to the whole, and rows of token ids: first the whole text, then without one part each.

    `left_out[i]` is the index of the part that row i + 1 leaves out. No row leaves out a gap between words, or words beyond
    the model's maximum length.
    """

    texts: list[str]
    left_out: list[int]
    rows: list[list[int]]


class Token(NamedTuple):
    """A token of a row, and where it ends in the text; None for a special token."""

    id: int
    end: int | None


def seen_tokens(classifier: Classifier, text: Text) -> tuple[str, list[list[Token]]]:
    """A text, joined if it has fields, and the tokens of its row, or of each of its windows."""
    whole, form = joined(text), classifier.form
    if form.pair is None:
        encoding = classifier.tokenizer.encode(whole)
        ends = [
            None if special else end
            for special, (_, end) in zip(encoding.special_tokens_mask, encoding.offsets, strict=True)
        ]
        row = classifier.cut(list(range(len(ends))))
        windows = [row] if form.stride is None else row
        return whole, [[Token(encoding.ids[index], ends[index]) for index in window] for window in windows]
    tokens, start = [], 0
    for field in text:
        encoding = classifier.tokenizer.encode(field or "", add_special_tokens=False)
        tokens.append([Token(id, start + end) for id, (_, end) in zip(encoding.ids, encoding.offsets, strict=True)])
        start += len(field or "") + len(SEPARATOR)
    # The same cut of the places of tokens: one and more is a place, the special tokens are 0 and its complement.
    count = len(tokens[0])
    places = list(range(1, count + 1)), list(range(count + 1, count + len(tokens[1]) + 1))
    blank = form.pair._replace(**{name: [0] * len(getattr(form.pair, name)) for name in ("before", "between", "after")})
    every = [None, *tokens[0], *tokens[1]]
    row = []
    for id, place in zip(
        form.row(tuple([token.id for token in part] for part in tokens)),
        blank.row(*places, form.max_length, form.truncation),
        strict=True,
    ):
        token = every[~place if place < 0 else place]
        row.append(Token(id, token and token.end))
    return whole, [row]


def parts(classifier: Classifier, text: Text) -> Parts:
    """Parts of a text. Tokens are removed rather than words, so that no truncated words move into view."""
    text, windows = seen_tokens(classifier, text)
    words = [match.span() for match in WORD.finditer(text)]
    word_at = np.full(len(text) + 1, -1)
    for number, (start, end) in enumerate(words):
        word_at[start:end] = number
    # By a token's last character, since in some vocabularies the first is a space. An empty span belongs to no word.
    owned = [
        [(token.id, -1 if token.end is None else int(word_at[token.end - 1])) for token in window] for window in windows
    ]
    seen = sorted({word for window in owned for _, word in window} - {-1})

    def row(out: Callable[[int], bool]) -> list:
        kept = [[token for token, word in window if not out(word)] for window in owned]
        return kept[0] if classifier.form.stride is None else kept

    step = max(1, math.ceil(len(seen) / MOST))
    texts, left_out, rows, done = [], [], [row(lambda _: False)], 0
    for first in range(0, len(seen), step):
        group = seen[first : first + step]
        start, end = words[group[0]][0], words[group[-1]][1]
        texts += [text[done:start], text[start:end]]
        left_out.append(len(texts) - 1)
        rows.append(row(lambda word, first=group[0], last=group[-1]: first <= word <= last))
        done = end
    return Parts([*texts, text[done:]], left_out, rows)


def most_rows(text: Text) -> int:
    """The most rows that `parts` can make of a text, computed without tokenising; truncation may leave fewer.

    >>> most_rows("It is well-made!"), most_rows("word " * 1000)
    (5, 129)
    """
    return 1 + sum(1 for _ in islice(WORD.finditer(joined(text)), MOST))


def pushes(probabilities: np.ndarray, label: int) -> list[float]:
    """How far each part moves the probability of the label with this id, from the answers to `Parts.rows`.

    A positive push is towards the label: without the part, the label would be less probable by that much.

    >>> pushes(np.array([[0.25, 0.75], [0.75, 0.25], [0.125, 0.875]]), 1)
    [0.5, -0.125]
    """
    of_class = probabilities[:, label]
    return [float(push) for push in of_class[0] - of_class[1:]]
