"""Fine-tuning with the chosen engine, from the start or from the last checkpoint."""

import errno

import numpy as np
import torch
from datasets import Dataset
from dvclive import Live
from safetensors import SafetensorError
from transformers import PreTrainedModel

from finetune.base.errors import UserError, one_line
from finetune.base.params_training import Train
from finetune.encoder.hardware import fast_fp32
from finetune.training.checkpoints import Checkpoints
from finetune.training.distributed import leave, processes
from finetune.training.engine_loop import train_with_loop
from finetune.training.engine_trainer import train_with_trainer
from finetune.training.fit import Fit
from finetune.training.interrupts import Interrupts
from finetune.training.shared_cores import sharing_cores

ENGINES = {"trainer": train_with_trainer, "loop": train_with_loop}


def fine_tune(
    model: PreTrainedModel,
    tokenizer,
    train: Dataset,
    validation: Dataset,
    settings: Train,
    precision: str,
    live: Live | None,
    checkpoints: Checkpoints,
    prompts: list[list[int]] | None = None,
    teacher: np.ndarray | None = None,
) -> tuple[PreTrainedModel, Fit]:
    """Classifier with the weights of its best epoch, and its `Fit`.

    AdamW (Loshchilov & Hutter 2019) without weight decay on biases and norms, linear warmup and decay, gradients clipped
    by their norm. `prompts` are the token ids of one text for each label, from which `lp_ft` starts its head.
    `teacher` holds a teacher's logits of the training rows, [rows, classes]. Resumes from the last checkpoint of the same
    training, if there is one. Raises UserError if the loss is no longer finite or memory runs out, OSError if the disk is
    full, Stopped if it was asked to stop.
    """
    with Interrupts() as interrupts, fast_fp32(), sharing_cores():
        fit = Fit(
            model, tokenizer, train, validation, settings, precision, live, checkpoints, interrupts, prompts, teacher
        )
        try:
            ENGINES[settings.engine](fit)
            fit.mark_finished()
            leave()
        except (RuntimeError, MemoryError, SafetensorError) as error:
            if isinstance(error, SafetensorError) or "PytorchStreamWriter" in str(error):
                # The writers of both engines hide the system's error number; nearly always the disk is full.
                raise OSError(errno.ENOSPC, one_line(error), str(checkpoints.folder)) from error
            if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
                raise UserError(
                    f"out of memory with batches of {settings.batch_size} rows; lower train.batch_size or "
                    "tokenize.max_length, or close other programs"
                ) from None
            if processes() > 1 and ("gloo" in str(error) or "NCCL" in str(error)):
                # "[…/pair.cc:537] Read error [10.0.0.2]:3143: Connection reset by peer. This is typically caused by …"
                reason = one_line(error).partition(". This is typically")[0].rpartition("] ")[2][:200]
                raise UserError(
                    f"another process of this training ended or cannot be reached ({reason}); its own output says "
                    "why. The same command resumes from the last checkpoint"
                ) from None
            raise
        finally:
            fit.progress.bar.close()
    return fit.best_model(), fit
