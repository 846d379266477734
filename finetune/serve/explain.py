"""How far each word pushes a text's class: the answer with the word against the answer without it.

Leaving a word out is called occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks";
Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through Representation Erasure", for words).
"""

import math
import re
from itertools import islice
from typing import NamedTuple

import numpy as np

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


def parts(classifier: Classifier, text: str) -> Parts:
    """Parts of a text. Tokens are removed rather than words, so that no truncated words move into view."""
    encoding = classifier.tokenizer.encode(text)
    kept = classifier.cut(list(range(len(encoding.ids))))
    words = [match.span() for match in WORD.finditer(text)]
    word_at = np.full(len(text) + 1, -1)
    for number, (start, end) in enumerate(words):
        word_at[start:end] = number
    # By a token's last character, since in some vocabularies the first is a space. An empty span belongs to no word.
    owner = [
        -1 if encoding.special_tokens_mask[index] else int(word_at[encoding.offsets[index][1] - 1]) for index in kept
    ]
    seen = sorted(set(owner) - {-1})
    ids = [encoding.ids[index] for index in kept]
    step = max(1, math.ceil(len(seen) / MOST))
    texts, left_out, rows, done = [], [], [ids], 0
    for first in range(0, len(seen), step):
        group = seen[first : first + step]
        start, end = words[group[0]][0], words[group[-1]][1]
        texts += [text[done:start], text[start:end]]
        left_out.append(len(texts) - 1)
        rows.append([token for token, word in zip(ids, owner, strict=True) if not group[0] <= word <= group[-1]])
        done = end
    return Parts([*texts, text[done:]], left_out, rows)


def most_rows(text: str) -> int:
    """The most rows that `parts` can make of a text, computed without tokenising; truncation may leave fewer.

    >>> most_rows("It is well-made!"), most_rows("word " * 1000)
    (5, 129)
    """
    return 1 + sum(1 for _ in islice(WORD.finditer(text), MOST))


def pushes(probabilities: np.ndarray, label: int) -> list[float]:
    """How far each part moves the probability of the label with this id, from the answers to `Parts.rows`.

    A positive push is towards the label: without the part, the label would be less probable by that much.

    >>> pushes(np.array([[0.25, 0.75], [0.75, 0.25], [0.125, 0.875]]), 1)
    [0.5, -0.125]
    """
    of_class = probabilities[:, label]
    return [float(push) for push in of_class[0] - of_class[1:]]
