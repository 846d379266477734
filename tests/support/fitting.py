"""Real trainings of tiny encoders that take about a second."""

import csv
import os
from pathlib import Path

import numpy as np
import torch
from accelerate.state import AcceleratorState
from dvclive import Live

from finetune.base.params_training import Train
from finetune.encoder.models import fresh_classifier
from finetune.rows.stored import label_names
from finetune.rows.tokens import load_tokenizer
from finetune.training.checkpoints import Checkpoints
from finetune.training.fine_tune import fine_tune
from finetune.training.settings import PROBES
from finetune.training.strategies import STRATEGIES, Strategy
from finetune.training.task import OneLabel, SeveralLabels
from tests.support.project import PARAMS
from tests.support.rows import tokenised
from tests.support.tiny import reviews


def fit(
    folder: Path,
    checkpoint: Path,
    rows: int = 80,
    precision: str = "fp32",
    key: str = "key",
    wrong: int = 0,
    teacher: np.ndarray | None = None,
    windows: bool = False,
    **changes,
):
    """Fine-tuned model and its `Fit`: `rows` reviews to train on, 20 for validation, curves and checkpoints in `folder`.

    The first `wrong` training rows have the other label; `teacher` holds a teacher's logits of the training rows. With
    `windows`, each review has two.
    """
    # accelerate keeps the precision of a process's first training.
    AcceleratorState._reset_state(reset_partial_state=True)
    settings = Train(**PARAMS["train"] | changes)
    tokenizer = load_tokenizer(checkpoint)
    other = {"bad": "good", "good": "bad"}
    texts = reviews(rows + 20)
    texts[:wrong] = [row | {"label": other[row["label"]]} for row in texts[:wrong]]
    data = tokenised(tokenizer, texts, ["bad", "good"], windows)
    model = fresh_classifier(
        checkpoint, label_names(data), settings.seed, settings.dropout, mean=settings.strategy in PROBES
    )
    with Live(str(folder / "live"), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        checkpoints = Checkpoints(key, folder / "checkpoints")
        split = data.select(range(rows)), data.select(range(rows, rows + 20))
        return fine_tune(model, tokenizer, *split, settings, precision, live, checkpoints, teacher=teacher)


def strategy_with(task: OneLabel | SeveralLabels, **changes) -> Strategy:
    """The strategy of changed settings, for a training in fp32 that keeps no features."""
    settings = Train(**PARAMS["train"] | changes)
    return STRATEGIES[settings.strategy](settings, task, "fp32", Path(os.devnull))


def weights_of(model) -> torch.Tensor:
    """All weights of a model in one vector."""
    return torch.cat([value.flatten().float() for value in model.state_dict().values()])


def curve(folder: Path, name: str) -> list[tuple[int, float]]:
    """Points (step, value) of one curve of DVCLive."""
    with (folder / f"live/plots/metrics/{name}.tsv").open() as file:
        return [(int(row["step"]), float(row[name.split("/")[-1]])) for row in csv.DictReader(file, delimiter="\t")]


def losses(fit) -> list[float]:
    """Training loss of each step, for trainings so short that the curves have a point for every step."""
    return [values["train/loss"] for _, values in fit.progress.points if "train/loss" in values]
