"""Which words push a text's class which way: the answer with a word beside the answer without it.

Leaving one out is called occlusion (Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks";
Li, Monroe and Jurafsky 2016, "Understanding Neural Networks through Representation Erasure", for words).
"""

import math
import re
from itertools import islice
from typing import NamedTuple

import numpy as np

from finetune.evaluation.words import SPACELESS
from finetune.runtime.classifier import Classifier

MOST = 128  # words left out one by one; of a longer text, neighbours go together, so that it costs no more
# Apostrophe and hyphen stay in words; a script without spaces is taken letter by letter.
MARKS = r"!-&(-,./:-@\[-^`{-~\u00a1-\u00bf\u2010-\u2018\u201a-\u205e\u3000-\u303f\uff01-\uff0f\uff1a-\uff20"
WORD = re.compile(rf"[{SPACELESS}]|[^\s{SPACELESS}{MARKS}]+|[{MARKS}]+")


class Parts(NamedTuple):
    """A text in parts that make it up again, and rows of token ids: the whole text, then without one part each.

    `places[i]` is the part that row i + 1 leaves out. What lies between words, and what the cut to the model's length
    hides, is left out in no row.
    """

    texts: list[str]
    places: list[int]
    rows: list[list[int]]


def parts(classifier: Classifier, text: str) -> Parts:
    """Parts of a text. Tokens are taken away rather than words: then nothing that was cut off moves in."""
    encoding = classifier.tokenizer.encode(text)
    kept = classifier.cut(list(range(len(encoding.ids))))
    words = [match.span() for match in WORD.finditer(text)]
    word_at = np.full(len(text) + 1, -1)
    for number, (start, end) in enumerate(words):
        word_at[start:end] = number
    # By a token's last character: the first is a space in some vocabularies. The cut of an empty span finds none.
    owner = [-1 if encoding.special_tokens_mask[at] else int(word_at[encoding.offsets[at][1] - 1]) for at in kept]
    seen = sorted(set(owner) - {-1})
    ids = [encoding.ids[at] for at in kept]
    step = max(1, math.ceil(len(seen) / MOST))
    texts, places, rows, done = [], [], [ids], 0
    for first in range(0, len(seen), step):
        group = seen[first : first + step]
        start, end = words[group[0]][0], words[group[-1]][1]
        texts += [text[done:start], text[start:end]]
        places.append(len(texts) - 1)
        rows.append([one for one, word in zip(ids, owner, strict=True) if not group[0] <= word <= group[-1]])
        done = end
    return Parts([*texts, text[done:]], places, rows)


def most_rows(text: str) -> int:
    """Rows that `parts` makes of a text at most, without a look at its tokens; the cut may leave fewer.

    >>> most_rows("It is well-made!"), most_rows("word " * 1000)
    (5, 129)
    """
    return 1 + sum(1 for _ in islice(WORD.finditer(text), MOST))


def pushes(probabilities: np.ndarray) -> list[float]:
    """How far each part moves the probability of the text's class, from the answers to `Parts.rows`.

    Positive: towards the class; without the part it would be less probable by that much.

    >>> pushes(np.array([[0.25, 0.75], [0.75, 0.25], [0.125, 0.875]]))
    [0.5, -0.125]
    """
    of_class = probabilities[:, probabilities[0].argmax()]
    return [float(share) for share in of_class[0] - of_class[1:]]
