"""All baselines that need the encoder: each gives class probabilities for the test rows.

All see the training rows, choose what they choose on validation, and are scored by the caller on
the same test rows.
"""

from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoConfig

from finetune.base.params import Baseline
from finetune.baselines.frozen import embedding, few_shot, untrained
from finetune.baselines.prompting import filled_mask, fills_masks, label_words, similar_prompt
from finetune.baselines.regression import Labelled
from finetune.encoder.hardware import chosen_precision, device
from finetune.encoder.models import bare_encoder
from finetune.encoder.prediction import mean_embeddings
from finetune.rows.stored import label_names
from finetune.rows.tokens import encode, special_tokens, truncate


def split_embeddings(base: Path, splits: dict[str, list], pad_id: int) -> dict[str, np.ndarray]:
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
        features = split_embeddings(base, rows, tokenizer.pad_token_id)
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
