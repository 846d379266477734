"""Pretrained encoders: loading them, and what they say about rows, in the order of the rows."""

import contextlib
import errno
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import torch
from torch import nn
from tqdm import tqdm
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    set_seed,
)
from transformers.utils import logging

from finetune.base.errors import UserError, existing, one_line
from finetune.encoder.batches import CACHED_TOKENS, FeatureRows, TokenRows
from finetune.encoder.hardware import fast_fp32
from finetune.rows.lengths import length_order

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
# What the families call the part of a layer that ends its attention: behind it every token goes its own way.
ATTENTION_ENDS = ("attention", "sa_layer_norm")
SAME = 1e-5  # of a logit: the same sums in another order


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


def attention() -> str | None:
    """Implementation of attention that is fastest where models compute.

    On a processor plain products beat the fused kernel: its backward pass took three times as long at 26 tokens and twice
    at 256, its forward pass in bf16 1.4 times (docs/benchmarks.md). On a GPU the fused one, the library's choice, wins.
    """
    return None if torch.cuda.is_available() else "eager"


@contextlib.contextmanager
def loading(folder) -> Iterator[None]:
    """Block that loads the model of a folder: the library's report about a fresh head is silenced, its errors told in one line.

    Raises FileNotFoundError before the block where there is no such folder.
    """
    existing(folder)
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
        model = AutoModelForSequenceClassification.from_pretrained(
            folder,
            **changed,
            attn_implementation=attention(),
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: label for label, name in enumerate(names)},
            # Without it, a regression loss is used for one label and a binary one for float labels.
            problem_type="single_label_classification",
            # A head that the checkpoint brings may have another number of classes.
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
        )
    return narrowed(model.to(device()))


def trained_classifier(folder):
    """Classifier as it was saved, weights in fp32."""
    with loading(folder):
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, attn_implementation=attention(), dtype=torch.float32
        )
    return narrowed(model.to(device()))


def bare_encoder(folder):
    """Encoder without a head, weights in fp32."""
    with loading(folder):
        model = AutoModel.from_pretrained(folder, attn_implementation=attention(), dtype=torch.float32)
    return model.to(device())


def mask_filler(folder):
    """Encoder with its head for masked words, weights in fp32."""
    with loading(folder):
        model = AutoModelForMaskedLM.from_pretrained(folder, attn_implementation=attention(), dtype=torch.float32)
    return model.to(device())


def layers(encoder) -> Sequence:
    """Layers of an encoder from the bottom up: its longest list of modules. ALBERT, whose layers share weights, has one."""
    return max((module for module in encoder.modules() if isinstance(module, nn.ModuleList)), key=len, default=())


def narrowed(model):
    """The classifier, whose last layer now computes its feed-forward network for the first token alone.

    Most heads read no other token, and in an encoder of six layers the rest is a ninth of all products. Whether it
    holds for this one is tried on made-up tokens: where the logits change, the classifier stays as it was.
    """
    last = list(layers(model.base_model))[-1:]
    ends = [getattr(layer, name) for layer in last for name in ATTENTION_ENDS if hasattr(layer, name)]
    example = {
        "input_ids": torch.arange(8, device=model.device).view(2, 4),
        "attention_mask": torch.ones((2, 4), dtype=torch.int64, device=model.device),
    }
    with torch.inference_mode():
        expected = model(**example).logits
        for end in ends:
            hook = end.register_forward_hook(first_token)
            try:
                alone = model.base_model(**example).last_hidden_state.shape[1] == 1
                if alone and torch.allclose(model(**example).logits, expected, atol=SAME, rtol=SAME):
                    return model
            except RuntimeError:  # what comes behind cannot do with one token
                pass
            hook.remove()
    return model


def first_token(_module, _inputs, output):
    """Forward hook that leaves only the first token of hidden states of shape [rows, tokens, hidden]."""
    return (output[0][:, :1], *output[1:]) if isinstance(output, tuple) else output[:, :1]


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

    Rows are batched by length; each answer goes back to the place its row came from. Raises UserError when an answer
    is not finite.
    """
    model.eval()
    # Longest first: memory runs out at the beginning or not at all.
    waiting = deque(length_order(rows.lengths, BATCH, batch_tokens()))
    kind = device().type
    autocast = torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)

    def answers() -> list[tuple[np.ndarray, np.ndarray]]:
        found = []
        # Threads begin without what the caller has set.
        with torch.inference_mode(), torch.autocast(kind, autocast[1], enabled=autocast[0]):
            while waiting:
                try:
                    places = waiting.popleft()
                except IndexError:  # another thread took the last one
                    break
                batch = {key: value.to(model.device) for key, value in rows.batch(places).items()}
                found.append((places, answer(model(**batch), batch).float().cpu().numpy()))
                bar.update(len(places))
        return found

    progress = tqdm(desc=desc, total=len(rows.lengths), unit=" rows", disable=None)
    with fast_fp32(), progress as bar, one_core_threads() as (pool, count):
        try:
            futures = [pool.submit(answers) for _ in range(count)]
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            waiting.clear()  # what stopped one thread, or this one, stops the others
        parts = [part for future in futures for part in future.result()]
    found = np.empty((len(rows.lengths), *parts[0][1].shape[1:]), np.float32)
    for places, part in parts:
        found[places] = part
    if not np.isfinite(found).all():
        raise UserError(
            "the model answers with numbers that are not finite: its weights are damaged, or training "
            "diverged (then lower train.lr)"
        )
    return found


@contextlib.contextmanager
def one_core_threads() -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Block with as many threads as torch has on a processor, and their number; each makes its products on one core.

    Products of a small encoder are so short that cores sharing one wait for each other: apart, two made 1.2 (fp32) and
    1.4 times (bf16) the rows a second, and an answer no longer depends on the number of cores. A GPU gets one thread.
    """
    cores = torch.get_num_threads()
    count = 1 if torch.cuda.is_available() else cores
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(cores)  # some of torch's libraries have one number for all threads


def logits(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "predict") -> np.ndarray:
    """Logits of shape [rows, classes]."""
    return predict(model, TokenRows(rows, pad_id), lambda output, _: output.logits, desc)


def mean_embeddings(model, rows: Sequence[Sequence[int]], pad_id: int, desc: str = "embed") -> np.ndarray:
    """Mean of the last hidden states over the tokens of each row, of shape [rows, hidden]; Reimers & Gurevych 2019."""

    def pool(output, batch):
        mask = batch["attention_mask"].unsqueeze(-1)
        return (output.last_hidden_state * mask).sum(1) / mask.sum(1)

    return predict(model, TokenRows(rows, pad_id), pool, desc)
