"""One label per text, or several: each knows how the model is scored, its plots, and its lines for the terminal."""

from collections.abc import Callable
from typing import NamedTuple

from datasets import Dataset

from finetune.evaluation.label_sets import label_set_lines, score_label_sets, write_label_set_plots
from finetune.evaluation.one_label import one_label_lines, score_one_label, write_one_label_plots
from finetune.rows.stored import has_label_sets


class Task(NamedTuple):
    """`score` measures everything, `write_plots` writes the data of the plots, `lines` are for the terminal."""

    score: Callable
    write_plots: Callable
    lines: Callable


ONE_LABEL = Task(score_one_label, write_one_label_plots, one_label_lines)
SEVERAL_LABELS = Task(score_label_sets, write_label_set_plots, label_set_lines)


def task_of(rows: Dataset) -> Task:
    """The task that the label column asks for."""
    return SEVERAL_LABELS if has_label_sets(rows) else ONE_LABEL
