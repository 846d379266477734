"""Pretrained encoders: loading them, and what they say about rows, in the order of the rows."""

import contextlib
import errno
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    set_seed,
)
from transformers.utils import logging

from finetune.batches import CACHED_TOKENS, FeatureRows, TokenRows
from finetune.errors import UserError, one_line
from finetune.lengths import length_order

DROPOUTS = (  # what the families call them
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
BATCH = 64  # rows; larger ones gain nothing on two cores


def device() -> torch.device:
    """Where models compute: the first GPU, or the one of this process among several, or the processor."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


def batch_tokens() -> int:
    """Number of tokens to compute at once, at most; a GPU takes batches whole."""
    return sys.maxsize if torch.cuda.is_available() else CACHED_TOKENS


@contextlib.contextmanager
def loading(folder):
    """Block that loads a model: the library's report about a fresh head is silenced, its errors told in one line."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise UserError(f"the model of {folder} does not load: {one_line(error)[:300]}") from None
    finally:
        logging.set_verbosity(verbosity)


def fresh_classifier(folder, names: list[str], seed: int, dropout: float | None = None):
    """The encoder of a checkpoint with a new classification head for these labels, weights in fp32.

    The head depends on the seed alone. Label names go into the config. `dropout` replaces each
    dropout of the encoder's config; None leaves them.
    """
    set_seed(seed)
    with loading(folder):
        config = AutoConfig.from_pretrained(folder)
        changed = {key: dropout for key in DROPOUTS if dropout is not None and hasattr(config, key)}
        return AutoModelForSequenceClassification.from_pretrained(
            folder,
            **changed,
            # Plain products beat the fused attention on a processor: their backward pass took a third of the
            # time at 26 tokens and half at 256 (docs/benchmarks.md). On a GPU the fused one wins.
            attn_implementation=None if torch.cuda.is_available() else "eager",
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: label for label, name in enumerate(names)},
            # Without it, a regression loss is used for one label and a binary one for float labels.
            problem_type="single_label_classification",
            # A head that the checkpoint brings may have another number of classes.
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        ).to(device())


def trained_classifier(folder, attention: str | None = None):
    """Classifier as it was saved, weights in fp32; `attention` names an implementation, None takes the library's choice."""
    with loading(folder):
        return AutoModelForSequenceClassification.from_pretrained(
            folder, attn_implementation=attention, dtype=torch.float32
        ).to(device())


def bare_encoder(folder):
    """Encoder without a head, weights in fp32."""
    with loading(folder):
        return AutoModel.from_pretrained(folder, dtype=torch.float32).to(device())


def mask_filler(folder):
    """Encoder with its head for masked words, weights in fp32."""
    with loading(folder):
        return AutoModelForMaskedLM.from_pretrained(folder, dtype=torch.float32).to(device())


def save(model, tokenizer, folder: Path):
    """Model and tokenizer as a Hugging Face folder; a full disk raises OSError as Python's own files do."""
    from safetensors import SafetensorError

    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for weights in folder.glob("*.safetensors"):
            weights.chmod(0o644)  # safetensors writes for the owner alone; what ships is read by others
    except SafetensorError as error:
        raise OSError(errno.ENOSPC, one_line(error), str(folder)) from error


def predict(model, rows: TokenRows | FeatureRows, answer: Callable, desc: str) -> np.ndarray:
    """`answer(output, batch)` for every row, as float32 of shape [rows, …], in the order of the rows.

    Rows are batched by length; each answer goes back to the place its row came from. Memory runs out
    on the first batch or not at all. Raises UserError when an answer is not finite.
    """
    model.eval()
    answers = None
    with torch.inference_mode(), tqdm(desc=desc, total=len(rows.lengths), unit=" rows", disable=None) as bar:
        for places in length_order(rows.lengths, BATCH, batch_tokens()):
            batch = {key: value.to(model.device) for key, value in rows.batch(places).items()}
            found = answer(model(**batch), batch).float().cpu().numpy()
            if answers is None:
                answers = np.empty((len(rows.lengths), *found.shape[1:]), np.float32)
            answers[places] = found
            bar.update(len(places))
    if not np.isfinite(answers).all():
        raise UserError(
            "the model answers with numbers that are not finite: its weights are damaged, or training "
            "diverged (then lower train.lr)"
        )
    return answers


def logits(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "predict") -> np.ndarray:
    """Logits of shape [rows, classes]."""
    return predict(model, TokenRows(rows, pad_id), lambda output, _: output.logits, desc)


def mean_embeddings(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "embed") -> np.ndarray:
    """Mean of the last hidden states over the tokens of each row, of shape [rows, hidden]; Reimers & Gurevych 2019."""

    def pool(output, batch):
        mask = batch["attention_mask"].unsqueeze(-1)
        return (output.last_hidden_state * mask).sum(1) / mask.sum(1)

    return predict(model, TokenRows(rows, pad_id), pool, desc)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64, so that the shares of a row add up to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return shifted / shifted.sum(-1, keepdims=True)
