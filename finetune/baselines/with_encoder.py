"""All baselines that need the encoder, with one load of it for all embeddings.

They may learn from the training rows and choose their settings on the validation rows. The caller scores their
probabilities on the test rows.
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
    """Mean embeddings of shape [rows, hidden] of several lists of token ids, with one load of the encoder."""
    encoder = bare_encoder(base)
    return {name: mean_embeddings(encoder, rows, pad_id, desc=f"embed {name}") for name, rows in splits.items()}


def encoder_baselines(base: Path, splits: dict[str, Dataset], tokenizer, settings: Baseline) -> dict[str, np.ndarray]:
    """Probabilities of shape [test rows, classes] from each baseline on the encoder; few_shot has shape [draws, rows, classes]."""
    # In bf16 if it is faster, as in training: embedding all training rows takes most of the time.
    with torch.autocast(device().type, torch.bfloat16, enabled=chosen_precision("auto") == "bf16"):
        test = splits["test"]
        class_names = label_names(test)
        length, special = tokenizer.model_max_length, special_tokens(tokenizer)
        prompts = encode(tokenizer, label_words(class_names, settings.zero_shot))
        rows = {name: split["input_ids"][:] for name, split in splits.items()}
        rows["prompts"] = [truncate(prompt, length, "head", special) for prompt in prompts]
        features = split_embeddings(base, rows, tokenizer.pad_token_id)
        train, validation = (
            Labelled(features[name], np.asarray(splits[name]["label"][:])) for name in ("train", "validation")
        )
        if fills_masks(AutoConfig.from_pretrained(base, trust_remote_code=False), tokenizer):
            zero_shot = filled_mask(base, tokenizer, test, settings.zero_shot, length)
        else:
            zero_shot = similar_prompt(features["prompts"], features["test"])
        return {
            "embedding": embedding(train, validation, features["test"], len(class_names)),
            "untrained": untrained(base, test, tokenizer.pad_token_id, settings.seed),
            "zero_shot": zero_shot,
            "few_shot": few_shot(train, features["test"], len(class_names), settings.few_shot, settings.seed),
        }
