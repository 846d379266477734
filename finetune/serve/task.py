"""One label per text, or several: each knows its responses, what it counts, which label it explains, and its words on the page."""

from collections.abc import Sequence

import numpy as np

from finetune.runtime.classifier import Classifier
from finetune.runtime.label_sets import leading
from finetune.runtime.reading import Reading
from finetune.scoring.decisions import UNSURE, Decision, rule_sentence, shown_class
from finetune.serve import schemas


class OneLabel:
    """The label that the model's decision gives, or none."""

    Predictions = schemas.Predictions
    Explanation = schemas.Explanation
    question = "Which class is this text?"
    start = "The answer is one of"
    unanswered = "unsure_texts", "Texts that /predict left unsure"

    def __init__(self, classifier: Classifier):
        self.labels, self.decision = classifier.labels, classifier.decision
        self.description = f"Classifies a text as one of: {', '.join(self.labels)}."

    @property
    def rule(self) -> str:
        """When a text is left unsure, or where the threshold lies; "" without a rule."""
        return "" if self.decision == Decision() else rule_sentence(self.decision.described(self.labels))

    def answered(self, probabilities: np.ndarray) -> list[list[int]]:
        """Ids of the labels that each text is answered with, from probabilities of shape [texts, labels]."""
        return [[] if answer == UNSURE else [int(answer)] for answer in self.decision.answers(probabilities)]

    def predictions(
        self, readings: Sequence[Reading], probabilities: np.ndarray, answered: list[list[int]]
    ) -> list[schemas.Prediction]:
        """A prediction for each text, of which `answered` has the ids of its labels."""
        return schemas.predictions(self.labels, readings, probabilities, answered)

    def explained(self, probabilities: np.ndarray, answered: list[int], _wanted: str | None) -> int:
        """Id of the label whose probability the words push: that of the answer, from a text's probabilities, [labels]."""
        return shown_class(answered[0] if answered else UNSURE, probabilities)

    def explanation(self, prediction: schemas.Prediction, _explained: int, parts: list[schemas.Part]):
        """The response of /explain."""
        return self.Explanation(**dict(prediction), parts=parts)


class SeveralLabels:
    """Every label that reaches its threshold."""

    Predictions = schemas.SetPredictions
    Explanation = schemas.SetExplanation
    question = "Which labels does this text have?"
    start = "The labels are"
    unanswered = "texts_without_label", "Texts that /predict gave no label"
    rule = "A text gets every label that reaches its threshold, which is marked on the label's bar; it may get none."

    def __init__(self, classifier: Classifier):
        self.labels, self.thresholds = classifier.labels, classifier.thresholds
        self.description = f"Gives a text any number of the labels: {', '.join(self.labels)}."

    def answered(self, probabilities: np.ndarray) -> list[list[int]]:
        """As `OneLabel.answered`."""
        return [np.flatnonzero(row).tolist() for row in probabilities >= self.thresholds]

    def predictions(
        self, readings: Sequence[Reading], probabilities: np.ndarray, answered: list[list[int]]
    ) -> list[schemas.SetPrediction]:
        """As `OneLabel.predictions`."""
        return schemas.set_predictions(self.labels, readings, probabilities, answered)

    def explained(self, probabilities: np.ndarray, _answered: list[int], wanted: str | None) -> int:
        """Id of the wanted label; without one, of the label that is highest above its threshold, or least below."""
        if wanted is not None:
            return self.labels.index(wanted)
        return int(leading(probabilities[None], self.thresholds)[0])

    def explanation(self, prediction: schemas.SetPrediction, explained: int, parts: list[schemas.Part]):
        """The response of /explain, with the threshold of each label."""
        thresholds = dict(zip(self.labels, self.thresholds.tolist(), strict=True))
        return self.Explanation(
            **dict(prediction), explained=self.labels[explained], thresholds=thresholds, parts=parts
        )


def task_of(classifier: Classifier) -> OneLabel | SeveralLabels:
    """The task of the exported model."""
    return (SeveralLabels if classifier.several else OneLabel)(classifier)
