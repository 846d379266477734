"""One training as both engines see it: its model, batches, optimizer and schedule, and the work around each step."""

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from dvclive import Live
from transformers import PreTrainedModel, get_linear_schedule_with_warmup

from finetune.base.errors import UserError
from finetune.base.params_training import Train
from finetune.base.terminal import say
from finetune.encoder.prediction import predict
from finetune.rows.windows import pooled
from finetune.training.checkpoints import FINISHED, Checkpoints
from finetune.training.distributed import check_same, from_all, from_first, leave, processes, rank, wait
from finetune.training.interrupts import Interrupts
from finetune.training.labelled_rows import labelled_rows
from finetune.training.layers import parameter_groups
from finetune.training.loader import EpochLoader, epoch_loader
from finetune.training.order import LengthBatches
from finetune.training.progress import Progress
from finetune.training.strategies import STRATEGIES
from finetune.training.task import task_of
from finetune.training.watched import append_scores

# Validations of a training that repeats its epochs to reach min_steps: each may cost more than the steps between them.
VALIDATIONS = 5
PROGRESS, BEST = "progress.json", "best.safetensors"


class Fit:
    """One training: its model, batches, optimizer, schedule and progress.

    An engine calls `before_step`, makes the step, calls `after_step`, and calls `after_epoch` after the last step of an
    epoch. `settings` have no nulls that a strategy decides (`settings.resolved`). Epochs are repeated until there are
    `min_steps`, and then validated at most five times. It saves a checkpoint, followed by `save_progress`, whenever
    `must_save` is true.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer,
        train: Dataset,
        validation: Dataset,
        settings: Train,
        precision: str,
        live: Live | None,
        checkpoints: Checkpoints,
        interrupts: Interrupts,
        prompts: list[list[int]] | None = None,
        teacher: np.ndarray | None = None,
    ):
        if settings.batch_size > len(train):
            raise UserError(
                f"train.batch_size must be at most {len(train)}, the training rows, found {settings.batch_size}"
            )
        self.settings, self.precision, self.tokenizer = settings, precision, tokenizer
        self.checkpoints, self.interrupts = checkpoints, interrupts
        self.task = task_of(train, settings.class_weights)
        self.train_targets, self.validation_targets = self.task.targets(train), self.task.targets(validation)
        targets = {"labels": torch.tensor(self.train_targets)}
        if teacher is not None:
            targets["soft_labels"] = self.task.soft_labels(teacher, settings.teacher_temperature)
        weights, pad_id = self.task.row_weights(self.train_targets), tokenizer.pad_token_id
        self.rows = labelled_rows(train, validation, targets, self.validation_targets, weights, pad_id, prompts)
        self.strategy = STRATEGIES[settings.strategy](settings, self.task, precision, checkpoints.features)
        self.model = self.strategy.start(model, self.rows)
        lengths = self.rows.train.lengths
        self.sampler = LengthBatches(lengths, settings.batch_size, settings.seed, self.strategy.window)
        epochs = max(settings.epochs, math.ceil(settings.min_steps / len(self.sampler)))
        self.steps = min(len(self.sampler) * epochs, settings.max_steps or sys.maxsize)
        self.epochs = math.ceil(self.steps / len(self.sampler))
        self.validated_every = math.ceil(self.epochs / max(settings.epochs, VALIDATIONS))  # epochs
        self.layer_schedule = self.strategy.schedule(self.model, self.steps)
        trained = self.strategy.trained(self.model)
        self.trained_count = sum(weights.numel() for weights in trained.values())
        rows = min(len(lengths) * self.epochs, self.steps * settings.batch_size)
        # One validation is one chance to improve.
        patience = settings.patience and settings.patience * self.validated_every
        self.progress = Progress(live, set(trained), self.steps, rows, patience, settings.best)
        # Each group brings its own rate. Fused: one pass over the weights, not one for each of Adam's operations.
        groups = parameter_groups(self.strategy.rates(self.model), settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.schedule = get_linear_schedule_with_warmup(
            self.optimizer, math.ceil(self.steps * settings.warmup), self.steps
        )

    def loader(self) -> EpochLoader:
        """Batches of this process, in the order of the sampler."""
        rows, seed = self.rows, self.settings.seed
        return epoch_loader(rows.train, rows.targets, rows.weights, self.sampler, seed, self.strategy.fewest)

    def before_step(self):
        """Freezes and unfreezes layers as the schedule of the strategy says."""
        if self.layer_schedule:
            self.layer_schedule.apply(self.progress.step)

    def after_step(self, loss: float, learning_rate: float, gradient_norm: float):
        """Records a step in the progress. Raises UserError if the loss is no longer finite."""
        if not math.isfinite(loss):
            raise UserError(
                f"the loss is {loss} at step {self.progress.step + 1}: training diverged; "
                f"lower train.lr, found {self.settings.lr:g}"
            )
        self.progress.stepped(self.settings.batch_size, loss, learning_rate, gradient_norm)

    @property
    def validation_due(self) -> bool:
        """Whether the epoch that ends now is scored on validation: each one, or each n-th and the last if epochs are repeated."""
        epoch = self.progress.epoch + 1
        return epoch % self.validated_every == 0 or epoch == self.epochs

    def after_epoch(self):
        """Counts the epoch and, if it is due, scores it on validation."""
        due = self.validation_due
        self.progress.epoch += 1
        if not due:
            return
        logits = self.strategy.refit(self.model, self.rows)
        logits = self.all_validation_logits() if logits is None else self.by_document(logits, slice(None))
        scores = self.task.scores(self.validation_targets, logits)
        self.progress.validated(scores, self.model)
        if rank() == 0:
            append_scores(self.progress.epoch, self.epochs, scores)
        self.model.train()

    def all_validation_logits(self) -> np.ndarray:
        """Logits of shape [rows, classes] of all validation rows; each process computes a share."""
        positions = list(range(len(self.validation_targets)))
        logits = np.empty((len(positions), self.model.config.num_labels), np.float32)
        for first, part in enumerate(from_all(self.validation_logits(positions[rank() :: processes()]))):
            logits[first :: processes()] = part
        return logits

    def validation_logits(self, positions: list[int]) -> np.ndarray:
        """Logits of shape [positions, classes] of the validation rows at these positions."""
        if not positions:
            return np.empty((0, self.model.config.num_labels), np.float32)
        documents = self.rows.documents
        rows = self.rows.validation.select(positions if documents is None else documents.positions(positions))
        answers = predict(self.model, rows, lambda output, _: output.logits, desc="validate")
        return self.by_document(answers, positions)

    def by_document(self, logits: np.ndarray, positions: list[int] | slice) -> np.ndarray:
        """Logits of the validation documents at these positions, from those of their windows; unchanged without windows."""
        documents = self.rows.documents
        return logits if documents is None else pooled(logits, documents.counts[positions])

    @property
    def is_finished(self) -> bool:
        """Whether no epoch is left, because all are done or validation has not improved for `patience` epochs."""
        return self.progress.epoch == self.epochs or self.progress.out_of_patience

    @property
    def is_epoch_end(self) -> bool:
        """Whether the last step was the last of its epoch, which `train.max_steps` may cut short."""
        return self.progress.step % len(self.sampler) == 0 or self.progress.step == self.steps

    def epochs_left(self) -> Iterator[int]:
        """Numbers of the remaining epochs, counted from 0."""
        while not self.is_finished:
            yield self.progress.epoch

    @property
    def must_save(self) -> bool:
        """Whether to write a checkpoint now: enough time has passed, or a stop was requested. The same in all processes."""
        return any(from_all(self.interrupts.asked() or self.checkpoints.due()))

    def save_progress(self, path: Path, started: float):
        """Adds the progress to a checkpoint that the engine has written. Raises Stopped if a stop was requested."""
        wait()
        if rank() == 0:
            self.progress.save(path, PROGRESS, BEST)
            self.checkpoints.mark_complete(path, started)
        wait()
        if any(from_all(self.interrupts.asked())):
            leave()
            raise self.interrupts.stopped(self.progress.step, self.steps)

    def restore(self) -> Path | None:
        """Restores the progress from the newest checkpoint of this training and returns the checkpoint; None without one."""
        check_same(self.checkpoints.folder.name, self.checkpoints.root)
        path = from_first(self.checkpoints.latest() if rank() == 0 else None)
        if path is not None:
            self.progress.load(path, PROGRESS, BEST)
            if rank() == 0:
                say(f"train: resumes from step {self.progress.step} of {self.steps}")
        self.checkpoints.written = time.monotonic()
        return path

    def mark_finished(self):
        """Writes a last checkpoint with the best weights alone, for a stage that is killed before DVC has tracked its outputs."""
        path, started = self.checkpoints.path(self.progress.step), time.monotonic()
        if from_first(path.exists()):
            return  # killed after it had finished
        if rank() == 0:
            path.mkdir(parents=True)
            (path / FINISHED).touch()
        self.save_progress(path, started)

    def best_model(self) -> PreTrainedModel:
        """Plain classifier with the weights of its best epoch: its own encoder again, adapters merged, no layer frozen."""
        self.model.load_state_dict(self.progress.best.weights, strict=False)
        model = self.strategy.finish(self.model)
        return model.requires_grad_(True)
