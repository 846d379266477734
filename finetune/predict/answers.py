"""Labels and probabilities for texts, also for lines as they arrive on stdin."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from finetune.base.errors import UserError
from finetune.base.fields import Text, is_blank
from finetune.base.terminal import say
from finetune.runtime.classifier import Classifier
from finetune.runtime.label_sets import label_set
from finetune.scoring.decisions import UNSURE, shown_class
from finetune.sources.bounds import LONGEST_ROW
from finetune.sources.text_encoding import START, conversion, wide_encoding

CHUNK = 1_000  # rows per step, a second or two: the progress bar moves, and texts of similar length can share a batch
READ = 65_536  # bytes read from stdin at a time: the capacity of a pipe
DIGITS = 6  # of a probability, as in metrics/


class Answers(NamedTuple):
    """Answers to texts: None and NaN for missing or blank ones.

    `labels` are also None where the model's decision leaves a text `unsure`; `probability` is that of the label, or there of
    the most probable one. `probabilities` have the shape [texts, classes]. Of a model for several labels per text, an entry of
    `labels` is the list of those that reach their thresholds, and there is no `probability` of an answer (NaN).
    """

    labels: list[str | list[str] | None]
    unsure: list[bool | None]
    probability: np.ndarray
    probabilities: np.ndarray


def answers(classifier: Classifier, texts: Sequence[Text | None]) -> Answers:
    """An answer to each text."""
    present = [index for index, text in enumerate(texts) if not is_blank(text)]
    probabilities = np.full((len(texts), len(classifier.labels)), np.nan)
    probabilities[present] = classifier.probabilities([texts[index] for index in present])
    labels: list[str | list[str] | None] = [None] * len(texts)
    unsure: list[bool | None] = [None] * len(texts)
    probability = np.full(len(texts), np.nan)
    if classifier.several:
        for index in present:
            unsure[index] = False
            labels[index] = label_set(classifier.labels, classifier.thresholds, probabilities[index])
        return Answers(labels, unsure, probability, probabilities.round(DIGITS))
    for index, answer in zip(present, classifier.decision.answers(probabilities[present]), strict=True):
        unsure[index] = bool(answer == UNSURE)
        labels[index] = None if unsure[index] else classifier.labels[answer]
        probability[index] = probabilities[index, shown_class(answer, probabilities[index])]
    return Answers(labels, unsure, probability.round(DIGITS), probabilities.round(DIGITS))


def answer_lines(classifier: Classifier, texts: Sequence[Text | None]) -> bytes:
    """One line of JSON per text: {"label": "good", "probability": 0.9, "probabilities": {"bad": 0.1, "good": 0.9}}.

    A model that may leave a text unsure has {"label": …, "unsure": …, …}, so that no label can be mistaken for that; one for
    several labels has {"labels": […], "probabilities": …}.
    """
    lines = []
    for label, unsure, probability, row in zip(*answers(classifier, texts), strict=True):
        answer = {"labels" if classifier.several else "label": label}
        answer |= {"unsure": unsure} if classifier.decision.leaves_unsure else {}
        if not classifier.several:
            answer["probability"] = None if unsure is None else float(probability)
        probabilities = dict(zip(classifier.labels, row.tolist(), strict=True))
        answer["probabilities"] = None if unsure is None else probabilities
        lines.append(json.dumps(answer, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


def arrived_lines(stream) -> Iterator[list[str]]:
    """Lines of a binary stream, without line ends, as many at a time as have arrived.

    Raises UserError for a line that is not UTF-8 or has more than LONGEST_ROW bytes.
    """
    number, rest = 1, bytearray()
    while chunk := stream.read1(READ):
        rest += chunk
        if b"\n" in chunk:
            *lines, rest = rest.split(b"\n")
            yield decoded(lines, number)
            number += len(lines)
        if len(rest) > LONGEST_ROW:
            raise UserError(f"stdin line {number} has more than {LONGEST_ROW:,} bytes; expected one text per line")
    if rest:
        yield decoded([rest], number)


def decoded(lines: list[bytes], first: int) -> list[str]:
    """Lines as text, without the byte order mark and the carriage returns that Windows adds."""
    texts = []
    for number, line in enumerate(lines, start=first):
        if number == 1 and (found := wide_encoding(bytes(line[:START]))):
            raise UserError(f"stdin {found}; {conversion(found)}")
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise UserError(f"stdin is not UTF-8 (line {number}); convert it to UTF-8") from None
        texts.append(text.removesuffix("\r"))
    return texts


def answer_texts(classifier: Classifier, batches: Iterable[Sequence[Text | None]]):
    """Writes answers to stdout and flushes after each batch, so that the next program in a pipe need not wait."""
    count = 0
    for texts in batches:
        count += len(texts)
        for start in range(0, len(texts), CHUNK):
            sys.stdout.buffer.write(answer_lines(classifier, texts[start : start + CHUNK]))
            sys.stdout.buffer.flush()
    if not count:
        say("stdin is empty, so there is no answer", sys.stderr)
