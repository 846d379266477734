"""Knowledge distillation: a student learns a teacher's probabilities besides the labels (Hinton et al. 2015)."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from finetune.base.errors import UserError
from finetune.base.files import read_json
from finetune.base.params_training import Train
from finetune.rows.stored import column, read_rows
from finetune.training.task import OneLabel, SeveralLabels

TEACHER = Path("data/teacher")


def stored_teacher() -> tuple[np.ndarray, dict]:
    """Logits of the training rows, [rows, classes], that stage `teach` stored, and where their teacher came from.

    Raises UserError if they are of other rows.
    """
    path = TEACHER / "train.parquet"
    source = read_json(TEACHER / "source.json")
    table = pq.read_table(path) if source else None
    if table is None or not table.column("row").equals(column(read_rows("train", ["row"]), "row")):
        raise UserError(
            f"{path} must hold the teacher's answers for the rows of data/tokenized/train.parquet, found "
            f"{'those for other rows' if source else 'none'}; run `dvc repro teach`"
        )
    logits = table.column("logits").combine_chunks()
    return logits.flatten().to_numpy().reshape(len(logits), -1), source


def distilled(
    losses: torch.Tensor,
    logits: torch.Tensor,
    soft: torch.Tensor,
    settings: Train,
    task: OneLabel | SeveralLabels,
) -> torch.Tensor:
    """Loss of each row: its `losses` mixed with the KL divergence of the student from the teacher, [rows].

    `soft` are the teacher's probabilities at the temperature, `logits` the student's, both [rows, classes]. The
    divergence is multiplied by the squared temperature, because the gradients of softened probabilities shrink with it
    (Hinton et al. 2015, section 2).
    """
    weight, temperature = settings.teacher_weight, settings.teacher_temperature
    return (1 - weight) * losses + weight * temperature**2 * task.divergence(logits / temperature, soft)
