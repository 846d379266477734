"""Zero-shot baselines: the label with the most similar prompt, or the most probable label name at a mask."""

from pathlib import Path

import numpy as np
from datasets import Dataset
from scipy.special import softmax
from sklearn.preprocessing import normalize

from finetune.base.params import check_prompts
from finetune.base.params_training import ZeroShot
from finetune.encoder.batches import TokenRows
from finetune.encoder.models import mask_filler
from finetune.encoder.prediction import predict
from finetune.rows.stored import label_names
from finetune.rows.tokens import encode, special_tokens, truncate

TEMPERATURE = 0.05  # of cosine similarities; training of sentence encoders uses it (all-MiniLM scales them by 20)


class CannotTell(Exception):
    """Why zero-shot classification cannot work with these labels, this template and this tokenizer."""


def fills_masks(config, tokenizer) -> bool:
    """Whether the checkpoint was saved with its head for masked language modelling."""
    return tokenizer.mask_token_id is not None and any(
        name.endswith("ForMaskedLM") for name in config.architectures or []
    )


def label_words(class_names: list[str], settings: ZeroShot) -> list[str]:
    """Prompt of each label in id order: `baseline.zero_shot.prompts`, or the label names; UserError if they do not match."""
    check_prompts(settings.prompts, class_names)
    return class_names if settings.prompts is None else [settings.prompts[name] for name in class_names]


def prompt_rows(tokenizer, class_names: list[str], settings: ZeroShot, max_length: int) -> list[list[int]]:
    """Token ids of each label's prompt, in id order; raises CannotTell if two labels have the same."""
    special = special_tokens(tokenizer)
    prompts = encode(tokenizer, label_words(class_names, settings))
    rows = [truncate(prompt, max_length, "head", special) for prompt in prompts]
    first = {}
    for name, row in zip(class_names, rows, strict=True):
        other = first.setdefault(tuple(row), name)
        if other != name:
            raise CannotTell(f"the prompts of the labels {other} and {name} have the same tokens")
    return rows


def similar_prompt(prompts: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Probabilities of shape [texts, labels]: softmax over the cosine similarities of text and prompt embeddings."""
    return softmax((normalize(texts) @ normalize(prompts).T / TEMPERATURE).astype(np.float64), axis=-1)


def first_tokens(rows: list[list[int]], class_names: list[str]) -> list[int]:
    """First id of each label name; raises CannotTell if there is none or if two labels have the same."""
    first = {}
    for name, ids in zip(class_names, rows, strict=True):
        if not ids:
            raise CannotTell(f"the tokenizer has no token for the label {name}")
        other = first.setdefault(ids[0], name)
        if other != name:
            raise CannotTell(f"the labels {other} and {name} begin with the same token")
    return list(first)


def filled_mask(base: Path, tokenizer, test: Dataset, settings: ZeroShot, max_length: int) -> np.ndarray:
    """Probabilities of the label names at the mask of the template, of shape [rows, classes]; Schick & Schütze 2021.

    The first token stands for a label name of several. Texts are cut so that the template fits. Raises CannotTell if
    two labels share their first token, one has no token, or the template leaves no room for a text.
    """
    class_names = label_names(test)
    special = special_tokens(tokenizer)

    def inner(texts: list[str]) -> list[list[int]]:
        return [ids[special.before : len(ids) - special.after] for ids in encode(tokenizer, texts)]

    words = first_tokens(inner([f" {name}" for name in class_names]), class_names)
    head, tail = settings.template.replace("{label}", tokenizer.mask_token).split("{text}")
    # A byte-level tokenizer joins a space with the word after it, so the space moves from the template to the text.
    space = head[len(head.rstrip()) :]
    before, after = inner([head.rstrip(), tail])
    room = max_length - sum(special) - len(before) - len(after)
    if room < 1:
        raise CannotTell(f"baseline.zero_shot.template leaves no room for a text within {max_length} tokens")
    whole = encode(tokenizer, ["a"])[0]
    start, end = whole[: special.before], whole[len(whole) - special.after :]
    rows = [start + before + text[:room] + after + end for text in inner([space + text for text in test["text"][:]])]
    # A mask after the text is counted from the end of the row, because texts differ in length.
    position = before.index(tokenizer.mask_token_id) + special.before if tokenizer.mask_token_id in before else None
    offset = len(after) + special.after - (after.index(tokenizer.mask_token_id) if position is None else 0)

    def at_mask(output, batch):
        ends = batch["attention_mask"].sum(1)
        positions = ends - offset if position is None else np.full(len(ends), position)
        return output.logits[range(len(ends)), positions][:, words]

    word_logits = predict(mask_filler(base), TokenRows(rows, tokenizer.pad_token_id), at_mask, desc="zero-shot")
    return softmax(word_logits.astype(np.float64), axis=-1)
