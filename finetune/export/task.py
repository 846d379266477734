"""One label per text, or several: each knows its calibration, its rule for answers, and the proof of its exported files."""

import numpy as np
from datasets import Dataset

from finetune.encoder.models import divide_logits
from finetune.export.proof import int8_set_verdict, int8_verdict
from finetune.rows.stored import class_ids, has_label_sets, label_matrix, label_names


class OneLabel:
    """The most probable label; the ONNX graph divides the logits by the temperature, and `rule` is that of `decide`, if any."""

    thresholds = None

    def __init__(self, scores: dict):
        self.temperature: float | None = scores["calibration"]["temperature"]
        self.rule: dict | None = scores.get("decision")

    def calibrate(self, _model) -> bool:
        """Puts what the graph does not divide into the model's weights; returns whether they changed."""
        return False

    def int8_verdict(self, test: Dataset, evaluated: np.ndarray, exported: np.ndarray, max_drop: float) -> dict:
        """Whether int8 ships, from the logits of the test rows as evaluated and as exported."""
        return int8_verdict(class_ids(test), evaluated, exported, max_drop)


class SeveralLabels:
    """Every label from its threshold on; the temperature of each label is in the weights of the model."""

    temperature = None

    def __init__(self, scores: dict, label_names: list[str]):
        self.rule = {"thresholds": scores["thresholds"]}
        self.thresholds = np.array([scores["thresholds"][name] for name in label_names])
        self.temperatures = np.array([scores["calibration"]["temperatures"][name] for name in label_names])

    def calibrate(self, model) -> bool:
        """Divides each label's logit by its temperature; returns whether the weights changed."""
        divide_logits(model, self.temperatures)
        return True

    def int8_verdict(self, test: Dataset, evaluated: np.ndarray, exported: np.ndarray, max_drop: float) -> dict:
        """Whether int8 ships, from the logits of the test rows as evaluated and as exported."""
        return int8_set_verdict(label_matrix(test), evaluated, exported, self.thresholds, max_drop)


def task_of(rows: Dataset, scores: dict) -> OneLabel | SeveralLabels:
    """The task that the label column asks for; `scores` is the content of metrics/test.json."""
    return SeveralLabels(scores, label_names(rows)) if has_label_sets(rows) else OneLabel(scores)
