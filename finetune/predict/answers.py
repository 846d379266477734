"""Answers to texts, and to lines as they arrive on stdin."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from finetune.base.errors import UserError
from finetune.runtime.classifier import Classifier

CHUNK = 1_000  # rows answered at a time, a second or two: the bar moves, and texts of similar length find each other
READ = 65_536  # bytes taken from stdin at a time, what a pipe holds
DIGITS = 6  # of a probability, as in metrics/


def answers(classifier: Classifier, texts: Sequence[str | None]) -> tuple[list[str | None], np.ndarray]:
    """Label of each text, and probabilities of shape [texts, classes]; None and nan for a text that is missing or blank."""
    there = [place for place, text in enumerate(texts) if text and not text.isspace()]
    probabilities = np.full((len(texts), len(classifier.labels)), np.nan)
    probabilities[there] = classifier.probabilities([texts[place] for place in there])
    labels: list[str | None] = [None] * len(texts)
    for place in there:
        labels[place] = classifier.labels[probabilities[place].argmax()]
    return labels, probabilities.round(DIGITS)


def answer_lines(classifier: Classifier, texts: Sequence[str]) -> bytes:
    """A line of JSON for each text: {"label": "good", "probability": 0.9, "probabilities": {"bad": 0.1, "good": 0.9}}."""
    lines = []
    for label, row in zip(*answers(classifier, texts), strict=True):
        answer = {"label": None, "probability": None, "probabilities": None}
        if label is not None:
            probabilities = dict(zip(classifier.labels, row.tolist(), strict=True))
            answer = {"label": label, "probability": probabilities[label], "probabilities": probabilities}
        lines.append(json.dumps(answer, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def arrived_lines(stream) -> Iterator[list[str]]:
    """Lines of a binary stream, as many at a time as have arrived, without their ends; raises UserError for other than UTF-8."""
    number, rest = 1, bytearray()
    while chunk := stream.read1(READ):
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            yield decoded(lines, number)
            number += len(lines)
    if rest:
        yield decoded([rest], number)


def decoded(lines: list[bytes], first: int) -> list[str]:
    """Lines as text; the mark that Windows puts in front of a file, and its ends of lines, are left out."""
    found = []
    for number, line in enumerate(lines, start=first):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise UserError(f"stdin is not UTF-8 (line {number}); convert it to UTF-8") from None
        found.append(text.removesuffix("\r"))
    return found


def answer_texts(classifier: Classifier, batches: Iterable[Sequence[str]]):
    """Answers on stdout, sent on as soon as a batch is done, so that the next program in a pipe need not wait."""
    for texts in batches:
        for start in range(0, len(texts), CHUNK):
            sys.stdout.buffer.write(answer_lines(classifier, texts[start : start + CHUNK]))
            sys.stdout.buffer.flush()
