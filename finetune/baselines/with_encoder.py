"""All baselines that need the encoder, with one load of it for all embeddings.

They may learn from the training rows and choose their settings on the validation rows. The caller scores their
probabilities on the test rows.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoConfig

from finetune.base.params_training import Baseline
from finetune.baselines.frozen import embedding, few_shot, untrained
from finetune.baselines.prompting import CannotTell, filled_mask, fills_masks, prompt_rows, similar_prompt
from finetune.baselines.regression import Labelled
from finetune.encoder.hardware import chosen_precision, device
from finetune.encoder.models import bare_encoder
from finetune.encoder.prediction import mean_embeddings
from finetune.rows.stored import class_ids, label_names, token_ids

ENCODER_BASELINES = ("embedding", "untrained", "zero_shot", "few_shot")


def split_embeddings(base: Path, splits: dict[str, Sequence], pad_id: int) -> dict[str, np.ndarray]:
    """Mean embeddings of shape [rows, hidden] of several splits' token ids, with one load of the encoder."""
    encoder = bare_encoder(base) if splits else None
    return {name: mean_embeddings(encoder, rows, pad_id, desc=f"embed {name}") for name, rows in splits.items()}


def encoder_baselines(
    base: Path, splits: dict[str, Dataset], tokenizer, settings: Baseline
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Probabilities of shape [test rows, classes] from each baseline on the encoder that `baseline.skip` does not name.

    few_shot has the shape [draws, rows, classes]. Also returns the reason of each baseline that cannot work with these data.
    """
    test, pad_id, length = splits["test"], tokenizer.pad_token_id, tokenizer.model_max_length
    class_names = label_names(test)
    wanted = [name for name in ENCODER_BASELINES if name not in settings.skip]
    probabilities, reasons, prompts = {}, {}, None
    # In bf16 if it is faster, as in training: embedding all training rows takes most of the time.
    with torch.autocast(device().type, torch.bfloat16, enabled=chosen_precision("auto") == "bf16"):
        if "zero_shot" in wanted:
            try:
                if fills_masks(AutoConfig.from_pretrained(base, trust_remote_code=False), tokenizer):
                    probabilities["zero_shot"] = filled_mask(base, tokenizer, test, settings.zero_shot, length)
                else:
                    prompts = prompt_rows(tokenizer, class_names, settings.zero_shot, length)
            except CannotTell as reason:
                reasons["zero_shot"] = str(reason)
        features = split_embeddings(base, embedded_rows(splits, wanted, prompts), pad_id)
        train, validation = (
            Labelled(features[name], class_ids(splits[name])) if name in features else None
            for name in ("train", "validation")
        )
        if prompts is not None:
            probabilities["zero_shot"] = similar_prompt(features["prompts"], features["test"])
        if "embedding" in wanted:
            probabilities["embedding"] = embedding(train, validation, features["test"], len(class_names))
        if "untrained" in wanted:
            probabilities["untrained"] = untrained(base, test, pad_id, settings.seed)
        if "few_shot" in wanted:
            probabilities["few_shot"] = few_shot(
                train, features["test"], len(class_names), settings.few_shot, settings.seed
            )
    return {name: probabilities[name] for name in wanted if name in probabilities}, reasons


def embedded_rows(
    splits: dict[str, Dataset], wanted: list[str], prompts: list[list[int]] | None
) -> dict[str, Sequence]:
    """Token ids of everything that the wanted baselines need embedded."""
    needed = {
        "train": {"embedding", "few_shot"} & set(wanted),
        "validation": {"embedding"} & set(wanted),
        "test": {"embedding", "few_shot"} & set(wanted) or prompts is not None,
    }
    rows = {name: token_ids(splits[name]) for name, why in needed.items() if why}
    return rows | ({"prompts": prompts} if prompts is not None else {})
