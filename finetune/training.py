"""Fine-tuning with the Hugging Face Trainer: batches by length, the best epoch kept, curves while it runs."""

import math
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import torch
from datasets import Dataset
from dvclive import Live
from sklearn.metrics import accuracy_score, f1_score, log_loss
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from finetune.batches import LengthBatches, padded
from finetune.encoder import logits, probabilities
from finetune.errors import UserError
from finetune.params import Train

CURVE_POINTS = 100  # of the training curves: smooth enough to see, few enough to read
CURVES = {"loss": "train/loss", "learning_rate": "train/learning_rate", "grad_norm": "train/gradient_norm"}


@dataclass
class Best:
    """The epoch with the highest validation accuracy (the lower loss decides a tie), and its weights."""

    epoch: int
    scores: dict[str, float]
    weights: dict[str, torch.Tensor]


class LiveCurves(TrainerCallback):
    """Curves through DVCLive as training goes on; times are left out, they differ between runs."""

    def __init__(self, live: Live):
        self.live = live

    def on_log(self, args, state, control, logs, **kwargs):
        self.live.step = state.global_step
        for key, value in logs.items():
            name = CURVES.get(key) or (key.replace("eval_", "validation/") if key.startswith("eval_") else None)
            if name:
                self.live.log_metric(name, round(float(value), 6))
        self.live.make_summary()


class ClassifierTrainer(Trainer):
    """Trainer whose batches are bucketed by length and whose validation is the same prediction as everywhere else.

    `train_dataset` and `eval_dataset` are rows as `finetune.rows` reads them. After each epoch the
    better weights are kept in memory: a copy costs less than a checkpoint on disk.
    """

    best: Best | None = None

    @property
    def pad_id(self) -> int:
        return self.processing_class.pad_token_id

    def get_train_dataloader(self) -> DataLoader:
        rows = self.train_dataset
        ids, labels = list(rows["input_ids"]), torch.as_tensor(rows["label"][:])
        sampler = LengthBatches([len(row) for row in ids], self.args.train_batch_size, self.args.seed)
        examples = list(range(len(ids)))
        loader = DataLoader(
            examples,
            batch_sampler=sampler,
            collate_fn=lambda places: (
                padded([ids[place] for place in places], self.pad_id) | {"labels": labels[places]}
            ),
        )
        return self.accelerator.prepare(loader)

    def training_step(self, *args, **kwargs) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise UserError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}: training diverged; "
                f"lower train.lr, found {self.args.learning_rate}"
            )
        return loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval") -> dict[str, float]:
        scores = validation_scores(self.model, self.eval_dataset, self.pad_id)
        self.model.train()
        epoch = round(self.state.epoch)
        print(f"epoch {epoch}: " + ", ".join(f"validation {name} {value:.4f}" for name, value in scores.items()))
        if self.best is None or rank(scores) > rank(self.best.scores):
            weights = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
            self.best = Best(epoch, scores, weights)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in scores.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


def rank(scores: dict[str, float]) -> tuple[float, float]:
    """Order of epochs: accuracy first, then the lower loss."""
    return scores["accuracy"], -scores["loss"]


def validation_scores(model, rows: Dataset, pad_id: int) -> dict[str, float]:
    """Accuracy, macro F1 and mean cross-entropy."""
    labels = np.asarray(rows["label"][:])
    found = logits(model, rows["input_ids"][:], pad_id, desc="validate")
    classes = range(found.shape[1])
    # Not the score block: a change of what `evaluate` reports must not retrain the model.
    return {
        "accuracy": float(accuracy_score(labels, found.argmax(1))),
        "f1": float(f1_score(labels, found.argmax(1), labels=classes, average="macro", zero_division=0)),
        "loss": float(log_loss(labels, probabilities(found), labels=classes)),
    }


def fine_tune(
    model, tokenizer, train: Dataset, validation: Dataset, settings: Train, precision: str, live: Live
) -> Best:
    """Trains the model in place and leaves it with the weights of its best epoch.

    AdamW (Loshchilov & Hutter 2019) without decay on biases and norms, linear warmup and decay,
    gradients clipped by their norm. Raises UserError when the loss is no longer finite.
    """
    steps = math.ceil(len(train) / settings.batch_size) * settings.epochs
    with tempfile.TemporaryDirectory() as folder:
        trainer = ClassifierTrainer(
            model=model,
            args=TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=settings.batch_size,
                num_train_epochs=settings.epochs,
                learning_rate=settings.lr,
                lr_scheduler_type="linear",
                # Below 1 the library takes it as a share of the steps.
                warmup_steps=settings.warmup,
                weight_decay=settings.weight_decay,
                max_grad_norm=settings.max_grad_norm,
                # One pass over the weights instead of one for each of Adam's operations.
                optim="adamw_torch_fused",
                bf16=precision == "bf16",
                use_cpu=not torch.cuda.is_available(),
                seed=settings.seed,
                eval_strategy="epoch",
                save_strategy="no",
                logging_steps=max(1, steps // CURVE_POINTS),
                # It would hide a loss that is not finite.
                logging_nan_inf_filter=False,
                disable_tqdm=not sys.stderr.isatty(),
                dataloader_pin_memory=torch.cuda.is_available(),
                report_to="none",
            ),
            train_dataset=train,
            eval_dataset=validation,
            processing_class=tokenizer,
            callbacks=[LiveCurves(live)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    model.load_state_dict(trainer.best.weights)
    return trainer.best
