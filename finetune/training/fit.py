"""One training as both engines see it: its model, batches, optimizer and schedule, and the work around each step."""

import functools
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
from finetune.encoder.batches import FeatureRows, TokenRows
from finetune.encoder.models import output_layer
from finetune.encoder.prediction import predict
from finetune.rows.stored import token_ids
from finetune.rows.windows import as_documents, pooled
from finetune.training.adapters import with_adapters
from finetune.training.checkpoints import FINISHED, Checkpoints
from finetune.training.contrast import pair_loss, representations
from finetune.training.distillation import distilled
from finetune.training.distributed import check_same, from_all, from_first, leave, processes, rank, wait
from finetune.training.frozen_encoder import FeaturesAsEncoder, encoder_features
from finetune.training.interrupts import Interrupts
from finetune.training.labelled_rows import of_windows
from finetune.training.layers import freeze, layer_schedule, parameter_groups
from finetune.training.loader import EpochLoader, epoch_loader
from finetune.training.order import WINDOW, LengthBatches
from finetune.training.probe import start_head
from finetune.training.progress import Progress
from finetune.training.task import OneLabel, SeveralLabels, task_of
from finetune.training.watched import append_scores

# Validations of a training that repeats its epochs to reach min_steps: each may cost more than the steps between them.
VALIDATIONS = 5
PROGRESS, BEST = "progress.json", "best.safetensors"


def part_loss(model, part: dict[str, torch.Tensor], settings: Train, task: OneLabel | SeveralLabels) -> torch.Tensor:
    """Contribution of a part to the mean loss over the rows of the global batch, weighted by class if asked for.

    The loss of a row is that of the task, mixed with the divergence from the teacher if there is one. The loss of `contrastive`
    is that of the pairs within the part, which counts with the weights of the part's rows.
    Each process sees its share of the rows. The weights make the mean over processes equal to the mean over rows.
    """
    inputs = {name: part[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in part}
    if settings.strategy == "contrastive":
        texts = representations(model, model(**inputs, output_hidden_states=True), part)
        return pair_loss(texts, part["labels"], part["weights"]) * part["weights"].sum()
    logits = model(**inputs).logits.float()
    losses = task.losses(logits, part["labels"])
    if "soft_labels" in part:
        losses = distilled(losses, logits, part["soft_labels"], settings, task)
    return (losses * part["weights"]).sum()


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
        self.pairs = settings.strategy == "contrastive"
        self.task = task_of(train, settings.class_weights)
        self.train_labels = torch.tensor(self.task.targets(train))
        self.targets = {"labels": self.train_labels}
        if teacher is not None:
            self.targets["soft_labels"] = self.task.soft_labels(teacher, settings.teacher_temperature)
        self.validation_labels = self.task.targets(validation)
        self.row_weights = self.task.row_weights(self.train_labels.numpy())
        train_ids, validation_ids = token_ids(train), token_ids(validation)
        self.documents = as_documents(validation_ids)
        validation_labels = self.validation_labels
        if self.documents is not None:
            self.targets, self.row_weights = of_windows(train_ids, self.targets, self.row_weights)
            validation_labels = validation_labels[self.documents.owners]
            train_ids, validation_ids = train_ids.windows, validation_ids.windows
        self.train_rows, self.validation_rows = (
            TokenRows(ids, tokenizer.pad_token_id) for ids in (train_ids, validation_ids)
        )

        prompt_rows = prompts and TokenRows(prompts, tokenizer.pad_token_id)
        labelled = (self.train_rows, self.targets["labels"].numpy()), (self.validation_rows, validation_labels)
        self.fit_head = functools.partial(start_head, model, *labelled, prompt_rows, precision, self.task)
        if settings.strategy == "lp_ft":
            self.fit_head()
        self.model = self.frozen(model)
        # Sorted by length, a few hundred rows would be in much the same batches in each epoch, and so in the same pairs.
        window = 1 if self.pairs else WINDOW
        self.sampler = LengthBatches(self.train_rows.lengths, settings.batch_size, settings.seed, window)
        epochs = max(settings.epochs, math.ceil(settings.min_steps / len(self.sampler)))
        self.steps = min(len(self.sampler) * epochs, settings.max_steps or sys.maxsize)
        self.epochs = math.ceil(self.steps / len(self.sampler))
        self.validated_every = math.ceil(self.epochs / max(settings.epochs, VALIDATIONS))  # epochs
        self.layer_schedule = layer_schedule(self.model, self.steps, settings)
        trained = self.trained_weights()
        self.trained_count = sum(weights.numel() for weights in trained.values())
        rows = min(len(self.row_weights) * self.epochs, self.steps * settings.batch_size)
        # One validation is one chance to improve.
        patience = settings.patience and settings.patience * self.validated_every
        self.progress = Progress(live, set(trained), self.steps, rows, patience, settings.best)
        # Each group brings its own rate. Fused: one pass over the weights, not one for each of Adam's operations.
        self.optimizer = torch.optim.AdamW(parameter_groups(self.model, settings), fused=True)
        self.schedule = get_linear_schedule_with_warmup(
            self.optimizer, math.ceil(self.steps * settings.warmup), self.steps
        )

    def frozen(self, model: PreTrainedModel) -> PreTrainedModel:
        """The model as the strategy trains it: layers frozen, or with adapters, or its head alone on stored features."""
        freeze(model, self.settings)
        self.base = None
        if self.settings.strategy == "head":
            self.train_rows, self.validation_rows = (
                FeatureRows(encoder_features(model, rows, self.precision, self.checkpoints.features))
                for rows in (self.train_rows, self.validation_rows)
            )
            self.base = model.base_model
            setattr(model, model.base_model_prefix, FeaturesAsEncoder(self.base))
        elif self.settings.strategy == "lora":
            model = with_adapters(model, self.settings)
        return model

    def trained_weights(self) -> dict[str, torch.nn.Parameter]:
        """Weights that the training changes, by name; the head of `contrastive` is frozen in its steps and fitted between them."""
        fitted = ""
        if self.pairs:
            fitted = output_layer(self.model, self.model.config.num_labels).removesuffix("weight")
        return {
            name: weights
            for name, weights in self.model.named_parameters()
            if weights.requires_grad or (fitted and name.startswith(fitted))
        }

    def loader(self) -> EpochLoader:
        """Batches of this process, in the order of the sampler."""
        fewest = 2 if self.pairs else 1  # a part of one row has no pair
        return epoch_loader(self.train_rows, self.targets, self.row_weights, self.sampler, self.settings.seed, fewest)

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
        if self.pairs:
            self.fit_head()
        positions = list(range(len(self.validation_labels)))
        share = positions[rank() :: processes()]
        logits = np.empty((len(positions), self.model.config.num_labels), np.float32)
        for first, part in enumerate(from_all(self.validation_logits(share))):
            logits[first :: processes()] = part
        scores = self.task.scores(self.validation_labels, logits)
        self.progress.validated(scores, self.model)
        if rank() == 0:
            append_scores(self.progress.epoch, self.epochs, scores)
        self.model.train()

    def validation_logits(self, positions: list[int]) -> np.ndarray:
        """Logits of shape [positions, classes] of the validation rows at these positions."""
        if not positions:
            return np.empty((0, self.model.config.num_labels), np.float32)
        chosen = positions if self.documents is None else self.documents.positions(positions)
        rows = self.validation_rows.select(chosen)
        answers = predict(self.model, rows, lambda output, _: output.logits, desc="validate")
        return answers if self.documents is None else pooled(answers, self.documents.counts[positions])

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
        model = self.model
        model.load_state_dict(self.progress.best.weights, strict=False)
        if self.base is not None:
            self.base.pooler = getattr(model, model.base_model_prefix).pooler
            setattr(model, model.base_model_prefix, self.base)
        if self.settings.strategy == "lora":
            model = model.merge_and_unload()
        for weights in model.parameters():
            weights.requires_grad_(True)
        return model
