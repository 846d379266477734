"""The score block: the same scores, under the same keys, for every classifier.

A metric of the library `evaluate`, which checks the types of predictions and references.
"""

import datasets
import evaluate
import numpy as np
from sklearn.metrics import precision_recall_fscore_support

from finetune.scoring.intervals import share_interval


class ScoreBlock(evaluate.Metric):
    """Accuracy, macro precision, recall and F1, and the same for each class.

    Macro scores average over the classes that occur among the rows; `absent` lists the others, whose precision, recall and
    F1 are None. The accuracy of a class is the share of rows for which "is it this class?" is answered correctly. A class
    that is never predicted has precision 0. `label_names` are in id order.
    """

    def _info(self):
        return evaluate.MetricInfo(
            description=self.__doc__,
            citation="",
            inputs_description="predictions and references: class ids, one a row",
            features=datasets.Features({"predictions": datasets.Value("int64"), "references": datasets.Value("int64")}),
        )

    def _compute(self, predictions, references, label_names):
        predictions, references = np.asarray(predictions), np.asarray(references)
        labels = range(len(label_names))
        precision, recall, f1, rows = precision_recall_fscore_support(
            references, predictions, labels=labels, zero_division=0
        )
        per_class = {
            name: {
                "accuracy": float(((predictions == label) == (references == label)).mean()),
                **{
                    score: float(values[label]) if rows[label] else None
                    for score, values in (("precision", precision), ("recall", recall), ("f1", f1))
                },
                "rows": int(rows[label]),
            }
            for label, name in enumerate(label_names)
        }
        return {
            "accuracy": float((predictions == references).mean()),
            "precision": float(precision[rows > 0].mean()),
            "recall": float(recall[rows > 0].mean()),
            "f1": float(f1[rows > 0].mean()),
            "absent": [name for label, name in enumerate(label_names) if not rows[label]],
            "per_class": per_class,
        }


def score_block(references: np.ndarray, predictions: np.ndarray, label_names: list[str]) -> dict:
    """Scores of predicted class ids against the true ones, with the row count and the interval of the accuracy."""
    block = ScoreBlock(keep_in_memory=True).compute(
        predictions=predictions, references=references, label_names=label_names
    )
    return {
        **block,
        "rows": len(references),
        "interval": share_interval(int((predictions == references).sum()), len(references)),
    }
