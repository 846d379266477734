"""Texts as the exported model reads them: their tokens, the length before the cut, and unknown tokens."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from finetune.base.fields import Text
from finetune.runtime.classifier import Classifier


class Reading(NamedTuple):
    """One text in tokens: the ids after the cut; tokens before it, special ones left out, and how many are unknown."""

    ids: list[int]
    length: int
    unknown: int
    truncated: bool


class Reader:
    """Readings of texts by a classifier's own tokenizer; the ids are those of `Classifier.encode`."""

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self.unknown = unknown_id(classifier)

    def read(self, texts: Sequence[Text]) -> list[Reading]:
        """A reading of each text, which is tokenised once, at full length."""
        readings = []
        for whole in self.classifier.whole(texts):
            unknown = 0
            if self.unknown is not None:
                unknown = sum(part.count(self.unknown) for part in (whole if isinstance(whole, tuple) else (whole,)))
            form = self.classifier.form
            readings.append(Reading(form.row(whole), form.length(whole), unknown, form.is_cut(whole)))
        return readings


def unknown_id(classifier: Classifier) -> int | None:
    """Id of the token for words outside the vocabulary; None for byte-level vocabularies, which cover every text."""
    model = json.loads(classifier.tokenizer.to_str())["model"]
    if model["type"] == "Unigram":
        return model.get("unk_id")
    token = model.get("unk_token")
    return None if token is None else classifier.tokenizer.token_to_id(token)
