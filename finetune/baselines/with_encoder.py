"""What a user would try before fine-tuning: each gives class probabilities for the test rows.

All see the training rows, choose what they choose on validation, and are scored by the caller on
the same test rows.
"""

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.special import softmax
from sklearn.preprocessing import normalize
from transformers import AutoConfig

from finetune.base.errors import UserError
from finetune.base.params import Baseline, FewShot, ZeroShot
from finetune.baselines.regression import Labelled, best_regression, class_probabilities, fitted_regression
from finetune.encoder.batches import TokenRows
from finetune.encoder.hardware import chosen_precision
from finetune.encoder.models import (
    bare_encoder,
    device,
    fresh_classifier,
    logits,
    mask_filler,
    mean_embeddings,
    predict,
)
from finetune.rows.stored import label_names
from finetune.rows.tokens import encode, special_tokens, truncate
from finetune.scoring.intervals import crossed_interval
from finetune.scoring.scores import score_block

TEMPERATURE = 0.05  # of cosine similarities, as sentence encoders are trained with: all-MiniLM scales them by 20


def embedding(train: Labelled, validation: Labelled, test_features: np.ndarray, classes: int) -> np.ndarray:
    """Logistic regression on the mean hidden states of the frozen encoder."""
    model, _ = best_regression(train, validation)
    return class_probabilities(model, test_features, classes)


def few_shot(train: Labelled, test_features: np.ndarray, classes: int, settings: FewShot, seed: int) -> np.ndarray:
    """Probabilities of shape [draws, rows, classes]: logistic regression on k labelled examples a class.

    The encoder stays frozen; each draw takes other examples. A class with fewer than k gives all.
    """
    draws = []
    for draw in range(settings.draws):
        random = np.random.default_rng([seed, draw])
        shuffled = random.permutation(len(train.labels))
        chosen = [shuffled[train.labels[shuffled] == label][: settings.per_class] for label in range(classes)]
        chosen = np.concatenate(chosen)
        model = fitted_regression(train.features[chosen], train.labels[chosen], 1.0)
        draws.append(class_probabilities(model, test_features, classes))
    return np.stack(draws)


def untrained(base: Path, test: Dataset, pad_id: int, seed: int) -> np.ndarray:
    """The encoder with a fresh head: what a tutorial's model knows before its first step."""
    return softmax(
        logits(fresh_classifier(base, label_names(test), seed), test["input_ids"][:], pad_id, desc="untrained").astype(
            np.float64
        ),
        axis=-1,
    )


def fills_masks(config, tokenizer) -> bool:
    """Whether the checkpoint was saved with its head for masked words."""
    return tokenizer.mask_token_id is not None and any(
        name.endswith("ForMaskedLM") for name in config.architectures or []
    )


def label_words(names: list[str], settings: ZeroShot) -> list[str]:
    """Prompt of each label in id order: `baseline.zero_shot.prompts`, or the label names themselves."""
    if settings.prompts is None:
        return names
    if set(settings.prompts) != set(names):
        raise UserError(
            f"baseline.zero_shot.prompts must have one prompt for each of the labels {', '.join(names)} "
            f"(or be null: the label names), found {', '.join(settings.prompts)}"
        )
    return [settings.prompts[name] for name in names]


def similar_prompt(prompts: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Softmax over the cosine similarity of each text with each label's prompt, from their embeddings."""
    return softmax((normalize(texts) @ normalize(prompts).T / TEMPERATURE).astype(np.float64), axis=-1)


def filled_mask(base: Path, tokenizer, test: Dataset, settings: ZeroShot, max_length: int) -> np.ndarray:
    """Probabilities of the label names where the template has its mask; Schick & Schütze 2021.

    A label name of several tokens is represented by its first. Texts are cut so that the template fits.
    """
    names = label_names(test)
    special = special_tokens(tokenizer)

    def inner(texts: list[str]) -> list[list[int]]:
        return [ids[special.before : len(ids) - special.after] for ids in encode(tokenizer, texts)]

    words = [ids[0] for ids in inner([f" {name}" for name in names])]
    if len(set(words)) < len(names):
        raise UserError(
            f"the labels {', '.join(names)} start with the same token, so that zero_shot cannot tell them apart "
            "by filling a mask; rename them in data.labels"
        )
    head, tail = settings.template.replace("{label}", tokenizer.mask_token).split("{text}")
    # A byte-level tokenizer takes a space as part of the word that follows it, so the text brings it along.
    space = head[len(head.rstrip()) :]
    before, after = inner([head.rstrip(), tail])
    room = max_length - sum(special) - len(before) - len(after)
    if room < 1:
        raise UserError(
            f"baseline.zero_shot.template leaves no room for a text within tokenize.max_length {max_length}; shorten it"
        )
    whole = encode(tokenizer, ["a"])[0]
    start, end = whole[: special.before], whole[len(whole) - special.after :]
    rows = [start + before + text[:room] + after + end for text in inner([space + text for text in test["text"][:]])]
    # Counted from the end of the row where the mask comes after the text, which differs in length.
    place = before.index(tokenizer.mask_token_id) + special.before if tokenizer.mask_token_id in before else None
    offset = len(after) + special.after - (after.index(tokenizer.mask_token_id) if place is None else 0)

    def at_mask(output, batch):
        ends = batch["attention_mask"].sum(1)
        places = ends - offset if place is None else np.full(len(ends), place)
        return output.logits[range(len(ends)), places][:, words]

    return softmax(
        predict(mask_filler(base), TokenRows(rows, tokenizer.pad_token_id), at_mask, desc="zero-shot").astype(
            np.float64
        ),
        axis=-1,
    )


def encoder_features(base: Path, splits: dict[str, list], pad_id: int) -> dict[str, np.ndarray]:
    """Mean embeddings of shape [rows, hidden] for several lists of token ids, with one load of the encoder."""
    encoder = bare_encoder(base)
    return {name: mean_embeddings(encoder, rows, pad_id, desc=f"embed {name}") for name, rows in splits.items()}


def encoder_baselines(base: Path, splits: dict[str, Dataset], tokenizer, settings: Baseline) -> dict[str, np.ndarray]:
    """Probabilities of shape [test rows, classes] from each baseline that asks the encoder; few_shot has one more axis, draws."""
    # As training computes: the frozen encoder reads every training row, which takes longer than all else.
    with torch.autocast(device().type, torch.bfloat16, enabled=chosen_precision("auto") == "bf16"):
        test = splits["test"]
        names = label_names(test)
        length, special = tokenizer.model_max_length, special_tokens(tokenizer)
        prompts = encode(tokenizer, label_words(names, settings.zero_shot))
        rows = {name: split["input_ids"][:] for name, split in splits.items()}
        rows["prompts"] = [truncate(prompt, length, "head", special) for prompt in prompts]
        features = encoder_features(base, rows, tokenizer.pad_token_id)
        train, validation = (
            Labelled(features[name], np.asarray(splits[name]["label"][:])) for name in ("train", "validation")
        )
        if fills_masks(AutoConfig.from_pretrained(base), tokenizer):
            zero_shot = filled_mask(base, tokenizer, test, settings.zero_shot, length)
        else:
            zero_shot = similar_prompt(features["prompts"], features["test"])
        return {
            "embedding": embedding(train, validation, features["test"], len(names)),
            "untrained": untrained(base, test, tokenizer.pad_token_id, settings.seed),
            "zero_shot": zero_shot,
            "few_shot": few_shot(train, features["test"], len(names), settings.few_shot, settings.seed),
        }


def mean_block(blocks: list[dict]) -> dict:
    """Score blocks averaged number by number."""
    return {
        key: mean_block([block[key] for block in blocks])
        if isinstance(value, dict)
        else value
        if isinstance(value, int)  # numbers of rows, the same in all
        else float(np.mean([block[key] for block in blocks]))
        for key, value in blocks[0].items()
    }


def few_shot_block(labels: np.ndarray, draws: np.ndarray, names: list[str]) -> dict:
    """Mean score block over draws, the standard deviation of their accuracies, and the interval over draws and rows."""
    block = mean_block([score_block(labels, draw.argmax(1), names) for draw in draws])
    right = draws.argmax(2) == labels
    return {
        **block,
        "rows": len(labels),
        "interval": crossed_interval(right),
        "std": right.mean(1).std(ddof=1),
        "draws": len(draws),
    }
