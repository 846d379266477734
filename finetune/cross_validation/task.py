"""One label per text, or several: each knows how answers are read and scored over the rows of all folds.

Answers are class ids of shape [rows], or bool of shape [rows, labels]; probabilities have the shape [rows, classes]. `groups` has
an integer for each row, and rows with the same integer are resampled together; without groups it is None.
"""

import numpy as np
import pyarrow as pa
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from finetune.base.metric_files import SETS
from finetune.evaluation.calibration import probability_scores
from finetune.evaluation.resampling import HIGHER_IS_BETTER, score_intervals
from finetune.evaluation.set_probabilities import set_probability_intervals, set_probability_scores
from finetune.results.predictions import has_label_sets, logits_of
from finetune.rows.label_lists import label_lists, matrix_of
from finetune.scoring.curves import confidence_bins, one_vs_rest
from finetune.scoring.label_sets import resampled_sets, set_block, set_words
from finetune.scoring.resamples import ends
from finetune.scoring.scores import score_block


class OneLabel:
    """The answer is a class id."""

    scores = tuple(HIGHER_IS_BETTER)
    brief = ("accuracy", "f1")  # scores of a baseline

    @staticmethod
    def truth(predictions: pa.Table) -> np.ndarray:
        """True class ids."""
        return predictions.column("label").to_numpy()

    @staticmethod
    def answers(predictions: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and answers of the fine-tuned model."""
        probabilities = softmax(logits_of(predictions), axis=1)
        return probabilities, probabilities.argmax(1)

    @staticmethod
    def baseline(stored: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and answers of a baseline."""
        probabilities = np.array(stored.column(name).to_pylist())
        return probabilities, probabilities.argmax(1)

    @staticmethod
    def right(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Whether each row is right."""
        return answers == truth

    @staticmethod
    def block(truth: np.ndarray, _probabilities: np.ndarray, answers: np.ndarray, label_names: list[str]) -> dict:
        """Score block of any classifier."""
        return score_block(truth, answers, label_names)

    @staticmethod
    def measured(
        truth: np.ndarray, probabilities: np.ndarray, _answers: np.ndarray, bins: int, groups: np.ndarray | None
    ) -> tuple[dict, dict]:
        """Scores of the fine-tuned model's probabilities, and the intervals of all its scores."""
        of_probabilities = probability_scores(truth, probabilities, confidence_bins(truth, probabilities, bins))
        area = np.mean([roc_auc_score(has, score) for has, score in one_vs_rest(truth, probabilities)])
        return of_probabilities | {"roc_auc": float(area)}, score_intervals(truth, probabilities, bins, groups)

    @staticmethod
    def stored(answers: np.ndarray) -> pa.Array:
        """A column of answers."""
        return pa.array(answers)

    @staticmethod
    def words(answer: np.ndarray, label_names: list[str]) -> str:
        """One answer."""
        return label_names[answer]


class SeveralLabels:
    """The answer is a set of labels, by the thresholds that each fold's validation rows chose."""

    scores = (*HIGHER_IS_BETTER, *SETS)
    brief = ("accuracy", "f1", "micro_f1")

    @staticmethod
    def truth(predictions: pa.Table) -> np.ndarray:
        """True labels."""
        return matrix_of(predictions.column("label"), logits_of(predictions).shape[1])

    @staticmethod
    def answers(predictions: pa.Table) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and answers of the fine-tuned model."""
        probabilities = expit(logits_of(predictions))
        return probabilities, matrix_of(predictions.column("predicted"), probabilities.shape[1])

    @staticmethod
    def baseline(stored: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities and answers of a baseline."""
        return tuple(np.array(stored.column(column).to_pylist()) for column in (name, f"{name}.answers"))

    @staticmethod
    def right(truth: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Whether each row has exactly the right labels."""
        return (answers == truth).all(1)

    @staticmethod
    def block(truth: np.ndarray, probabilities: np.ndarray, answers: np.ndarray, label_names: list[str]) -> dict:
        """Score block of any classifier."""
        return set_block(truth, answers, probabilities, label_names)

    @staticmethod
    def measured(
        truth: np.ndarray, probabilities: np.ndarray, answers: np.ndarray, bins: int, groups: np.ndarray | None
    ) -> tuple[dict, dict]:
        """Scores of the fine-tuned model's probabilities, and the intervals of all its scores."""
        resampled = resampled_sets(truth, answers, probabilities, groups=groups)
        intervals = {name: ends(values) for name, values in resampled.items()}
        intervals |= set_probability_intervals(truth, probabilities, bins, groups)
        return set_probability_scores(truth, probabilities, bins), intervals

    @staticmethod
    def stored(answers: np.ndarray) -> pa.Array:
        """A column of answers, each a list of label ids."""
        return label_lists(answers)

    @staticmethod
    def words(answer: np.ndarray, label_names: list[str]) -> str:
        """One answer."""
        return set_words(answer, label_names)


Task = type[OneLabel] | type[SeveralLabels]


def task_of(predictions: pa.Table) -> Task:
    """The task of a fold's predictions."""
    return SeveralLabels if has_label_sets(predictions) else OneLabel
