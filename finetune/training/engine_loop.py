"""The training loop, written out: the steps of the Hugging Face Trainer on one screen."""

import time

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, skip_first_batches
from transformers import set_seed

from finetune.training.fit import Fit


def train_with_loop(fit: Fit):
    """Trains `fit.model` in place to the end. Raises Stopped if it was asked to stop."""
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="bf16" if fit.precision == "bf16" else "no",
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=fit.layer_schedule is not None)],
    )
    model, optimizer = accelerator.prepare(fit.model, fit.optimizer)
    accelerator.register_for_checkpointing(fit.schedule)
    set_seed(fit.settings.seed)

    def save():
        path, started = fit.checkpoints.path(fit.progress.step), time.monotonic()
        accelerator.save_state(path)
        fit.save_progress(path, started)

    checkpoint = fit.restore()
    if checkpoint is not None and not fit.is_finished:
        accelerator.load_state(checkpoint)

    loader, steps = fit.loader(), len(fit.sampler)
    for epoch in fit.epochs_left():
        fit.sampler.set_epoch(epoch)
        model.train()
        for batch in skip_first_batches(loader, fit.progress.step - epoch * steps):
            fit.before_step()
            optimizer.zero_grad()
            loss = torch.zeros((), device=accelerator.device)
            for part in batch:
                moved = {name: value.to(accelerator.device) for name, value in part.items()}
                added = fit.strategy.loss(model, moved)
                accelerator.backward(added)
                loss += added.detach()
            norm = accelerator.clip_grad_norm_(model.parameters(), fit.settings.max_grad_norm)
            optimizer.step()
            rate = fit.schedule.get_last_lr()[0]
            fit.schedule.step()
            fit.after_step(accelerator.reduce(loss, "mean").item(), rate, norm.item())
            if not fit.is_epoch_end and fit.must_save:
                save()
            if fit.progress.step == fit.steps:  # perhaps within an epoch
                break
        fit.after_epoch()
        if not fit.is_finished and fit.must_save:
            save()
