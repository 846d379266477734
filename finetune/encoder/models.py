"""Pretrained encoders and classifiers: loading and saving them."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    set_seed,
)
from transformers.utils import logging

from finetune.base.errors import UserError, existing, foreign, one_line
from finetune.encoder.first_token import narrowed
from finetune.encoder.hardware import attention, device
from finetune.encoder.mean_layer import read_the_mean

DROPOUTS = (  # their names in the configs of all families
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout_prob",
    "dropout",
    "attention_dropout",
    "seq_classif_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "classifier_dropout",
    "pooler_dropout",
)


@contextlib.contextmanager
def loading(folder) -> Iterator[None]:
    """Block that loads the model of a folder, without the library's warnings about a randomly initialised head.

    Raises UserError, in one line, if the model does not load, and FileNotFoundError if there is no such folder.
    """
    existing(folder)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with foreign(
            f"the model of {folder} does not load ({{reason}}); get it again, or choose another model in model.uri"
        ):
            yield
    finally:
        logging.set_verbosity(verbosity)


def fresh_classifier(
    folder,
    label_names: list[str],
    seed: int,
    dropout: float | None = None,
    mean: bool = False,
    problem_type: str = "single_label_classification",
):
    """The encoder of a checkpoint with a randomly initialised classification head for these labels, weights in fp32.

    The head depends on the seed alone. The label names go into the config. `dropout` replaces every dropout of the
    encoder's config; None keeps them. `problem_type` tells transformers.pipeline whether to apply a softmax or a sigmoid.
    """
    set_seed(seed)
    with loading(folder):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        changed = {key: dropout for key in DROPOUTS if dropout is not None and hasattr(config, key)}
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder,
            **changed,
            trust_remote_code=False,
            attn_implementation=attention(),
            num_labels=len(label_names),
            id2label=dict(enumerate(label_names)),
            label2id={name: label for label, name in enumerate(label_names)},
            # Without it, transformers uses a regression loss for one label and a binary loss for float labels.
            problem_type=problem_type,
            # The checkpoint may bring a head with another number of classes.
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    if output_layer(model, len(label_names)) not in loaded["missing_keys"]:
        replace_head(model, seed)
    if mean:
        read_the_mean(model)
    return narrowed(model.to(device()))


def output_layer(model, classes: int) -> str:
    """Name of the weights that give the logits: the last linear layer outside the encoder with one output for each class."""
    names = [
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and module.out_features == classes
        and not name.startswith(f"{model.base_model_prefix}.")
    ]
    return (names or [""])[-1]


def replace_head(model, seed: int):
    """Gives a classifier a new head in place of one that its checkpoint brought, which has learnt another task.

    transformers keeps such a head if its size fits, even if the order of the labels differs.
    """
    set_seed(seed)
    fresh = type(model)(model.config).to(torch.float32)
    for name, module in fresh.named_children():
        if name != model.base_model_prefix:
            setattr(model, name, module)


def divide_logits(model, divisors: np.ndarray):
    """Divides each logit of a classifier by a number of its own, in the weights of the output layer."""
    layer = model.get_submodule(output_layer(model, len(divisors)).removesuffix(".weight"))
    with torch.no_grad():
        for weights in (layer.weight, layer.bias):
            if weights is not None:
                by = torch.as_tensor(divisors, dtype=weights.dtype, device=weights.device)
                weights.div_(by.reshape(-1, *[1] * (weights.ndim - 1)))


def trained_classifier(folder):
    """Saved classifier, weights in fp32. Raises UserError for a model without a trained head."""
    with loading(folder):
        model, loaded = AutoModelForSequenceClassification.from_pretrained(
            folder,
            attn_implementation=attention(),
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
        )
    # transformers would answer with a head of random weights.
    if (head := output_layer(model, model.config.num_labels)) in loaded["missing_keys"]:
        raise UserError(
            f"the model of {folder} is no fine-tuned classifier: its weights have no {head}; choose one that has been "
            "fine-tuned to classify texts"
        )
    return narrowed(model.to(device()))


def bare_encoder(folder):
    """Encoder without a head, weights in fp32."""
    with loading(folder):
        model = AutoModel.from_pretrained(
            folder, attn_implementation=attention(), dtype=torch.float32, trust_remote_code=False
        )
    return model.to(device())


def mask_filler(folder):
    """Encoder with its head for masked language modelling, weights in fp32."""
    with loading(folder):
        model = AutoModelForMaskedLM.from_pretrained(
            folder, attn_implementation=attention(), dtype=torch.float32, trust_remote_code=False
        )
    return model.to(device())


def save(model, tokenizer, folder: Path):
    """Writes model and tokenizer as a Hugging Face folder. Raises OSError if the disk is full, as Python's own files do."""
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):
            weights.chmod(0o644)  # safetensors lets only the owner read; others must read a shipped file
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, one_line(error), str(folder)) from error
