"""Decisions: from calibrated probabilities to answers, of which some may be "unsure"."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from finetune.base.errors import UserError, one_line
from finetune.base.files import read_json
from finetune.base.names import UNSURE_NAME

DECISION = "decision.json"  # in the exported folder; without it the most probable label is the answer
UNSURE = -1  # in place of a label's id


class Decision(NamedTuple):
    """A rule that turns probabilities into answers.

    The answer is the most probable label, or none if it is less probable than `min_probability`. With a `label`, one of two,
    that label is the answer from `threshold` on, and the other one below.
    """

    min_probability: float | None = None
    label: int | None = None
    threshold: float | None = None

    def answers(self, probabilities: np.ndarray) -> np.ndarray:
        """Label's id, or UNSURE, for each row of probabilities of shape [rows, classes]."""
        if self.label is not None:
            return np.where(probabilities[:, self.label] >= self.threshold, self.label, 1 - self.label)
        likeliest = probabilities.argmax(1)
        if self.min_probability is None:
            return likeliest
        return np.where(probabilities.max(1) >= self.min_probability, likeliest, UNSURE)

    @property
    def leaves_unsure(self) -> bool:
        """Whether a text may get no answer."""
        return self.min_probability is not None

    def described(self, label_names: list[str]) -> dict:
        """The rule as metrics and the exported folder hold it; `read_decision` reads it."""
        if self.label is not None:
            return {"threshold": {"label": label_names[self.label], "probability": self.threshold}}
        return {"min_probability": self.min_probability}


def shown_class(answer: int, probabilities: np.ndarray) -> int:
    """Id of the label whose probability goes with an answer: the answer itself, or the most probable label if it is UNSURE."""
    return int(probabilities.argmax()) if answer == UNSURE else int(answer)


def rule_sentence(decision: dict, marked: Callable[[str], str] = str) -> str:
    """The rule and, if it was chosen for something, that: "The answer is good from a probability of 0.3100 on, …".

    `marked` makes a label's name harmless for the page that the sentence is put into.
    """
    wanted = "".join(
        f" It was chosen for {'an' if name == 'accuracy' else 'a'} {name} of {100 * value:g}% on validation."
        for name, value in decision.get("wanted", {}).items()
    )
    if "threshold" in decision:
        rule = decision["threshold"]
        start = f"The answer is {marked(rule['label'])} from a probability of {rule['probability']:.4f} on"
        return f"{start}, and the other label below.{wanted}"
    least = decision["min_probability"]
    return f"The answer is “{UNSURE_NAME}” where no label has a probability of at least {least:.4f}.{wanted}"


def read_decision(folder: Path, label_names: list[str]) -> Decision:
    """The rule in an exported folder. Raises UserError if the file there is no rule for these labels."""
    path = folder / DECISION
    if not path.is_file():
        return Decision()
    try:
        return parsed_decision(read_json(path), label_names)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no decision for the labels {', '.join(label_names)} ({type(error).__name__}: {one_line(error)}); "
            "export the model again with `dvc repro export`"
        ) from None


def read_thresholds(folder: Path, label_names: list[str]) -> np.ndarray:
    """Least probability of each of several labels, in id order; raises UserError if the folder does not hold one for each."""
    path = folder / DECISION
    try:
        thresholds = read_json(path)["thresholds"]
        return np.array([probability(thresholds[name]) for name in label_names])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} holds no thresholds for the labels {', '.join(label_names)} ({type(error).__name__}: {one_line(error)}); "
            "export the model again with `dvc repro export`"
        ) from None


def parsed_decision(described: dict, label_names: list[str]) -> Decision:
    """The rule that `Decision.described` wrote; raises ValueError, KeyError or TypeError for anything else."""
    least, threshold = described.get("min_probability"), described.get("threshold")
    if (least is None) == (threshold is None):
        raise ValueError("expected either min_probability or threshold")
    if threshold is None:
        return Decision(min_probability=probability(least))
    if len(label_names) != 2:
        raise ValueError("a threshold is for two labels")
    return Decision(label=label_names.index(threshold["label"]), threshold=probability(threshold["probability"]))


def probability(value) -> float:
    """A number from 0 to 1; raises ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"expected a probability, found {str(value)[:40]}")
    return float(value)
