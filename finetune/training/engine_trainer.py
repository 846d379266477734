"""Training with the Hugging Face Trainer: its steps and checkpoints, our batches and validation."""

import time

import torch
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from finetune.training.distributed import processes
from finetune.training.fit import Fit


class Hooks(TrainerCallback):
    """Calls `Fit` from the Trainer's loop."""

    def __init__(self, fit: Fit):
        self.fit = fit

    def on_step_begin(self, args, state, control, **kwargs):
        self.fit.before_step()

    def on_log(self, args, state, control, logs, **kwargs):
        # The Trainer also logs a summary at the end of training.
        if "loss" not in logs:
            return
        self.fit.after_step(logs["loss"], logs["learning_rate"], logs["grad_norm"])
        state.log_history.clear()  # `Progress` keeps the curves
        # No checkpoint between the last step of an epoch and its validation: a resumed training would skip the validation.
        if not self.fit.is_epoch_end:
            self.save_if_due(control)

    def on_epoch_end(self, args, state, control, **kwargs):
        if self.fit.validation_due:
            control.should_evaluate = True  # asks for `evaluate`; the Trainer saves after it
        else:
            self.fit.after_epoch()
            self.save_if_due(control)

    def on_evaluate(self, args, state, control, **kwargs):
        control.should_training_stop |= self.fit.is_finished
        if not self.fit.is_finished:
            self.save_if_due(control)

    def save_if_due(self, control):
        if self.fit.must_save:
            self.save_started = time.monotonic()
            control.should_save = True

    def on_save(self, args, state, control, **kwargs):
        self.fit.save_progress(self.fit.checkpoints.path(state.global_step), self.save_started)


class ClassifierTrainer(Trainer):
    """Trainer on the batches of a `Fit`, with the project's own prediction as validation."""

    def __init__(self, fit: Fit, **kwargs):
        self.fit = fit
        super().__init__(
            model=fit.model,
            optimizers=(fit.optimizer, fit.schedule),
            train_dataset=range(len(fit.rows.weights)),
            processing_class=fit.tokenizer,
            callbacks=[Hooks(fit)],
            **kwargs,
        )
        self.remove_callback(PrinterCallback)
        self.remove_callback(ProgressCallback)

    def get_train_dataloader(self) -> DataLoader:
        return self.fit.loader()

    def training_step(self, model, inputs, num_items_in_batch=None) -> torch.Tensor:
        # One batch comes in parts; each adds its gradients.
        return sum(super(ClassifierTrainer, self).training_step(model, part) for part in inputs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None) -> torch.Tensor:
        return self.fit.strategy.loss(model, inputs)

    def floating_point_ops(self, inputs) -> int:
        return 0  # nobody reads it, and the Trainer's version expects one dictionary of inputs

    def evaluate(self, *args, **kwargs) -> dict[str, float]:
        self.fit.after_epoch()
        scores = dict(self.fit.progress.scores)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, scores)
        return scores


def train_with_trainer(fit: Fit):
    """Trains `fit.model` in place to the end. Raises Stopped if it was asked to stop."""
    settings = fit.settings
    trainer = ClassifierTrainer(
        fit,
        args=TrainingArguments(
            output_dir=str(fit.checkpoints.folder),
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=fit.epochs,
            max_steps=-1 if settings.max_steps is None else fit.steps,
            learning_rate=settings.lr,  # only logged: the optimizer comes with a rate for each group
            max_grad_norm=settings.max_grad_norm,
            bf16=fit.precision == "bf16",
            use_cpu=not torch.cuda.is_available(),
            seed=settings.seed,
            eval_strategy="no",
            save_strategy="no",
            # Every step: `Progress` averages the losses for the curves, so that a checkpoint can hold them.
            logging_steps=1,
            # The filter would hide a loss that is not finite.
            logging_nan_inf_filter=False,
            disable_tqdm=True,
            ddp_backend="gloo" if processes() > 1 and not torch.cuda.is_available() else None,
            ddp_find_unused_parameters=fit.layer_schedule is not None,
            report_to="none",
        ),
    )
    checkpoint = fit.restore()
    if not fit.is_finished:
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
