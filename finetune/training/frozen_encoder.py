"""Training of the head alone, on features that the frozen encoder computes once."""

import hashlib
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from finetune.encoder.batches import TokenRows
from finetune.encoder.prediction import head_input, predict


class FeaturesAsEncoder(nn.Module):
    """Replaces the frozen encoder in a classifier whose inputs are the encoder's features.

    `input_ids` are features of shape [rows, 1, hidden], which it returns as the last hidden state. A pooler of the
    encoder is kept and trains with the head.
    """

    def __init__(self, base: nn.Module):
        super().__init__()
        self.pooler = getattr(base, "pooler", None)
        self.activation = getattr(base, "pooler_activation", None)  # a separate module in ALBERT

    def forward(self, input_ids: torch.Tensor, **_) -> BaseModelOutputWithPooling:
        hidden, summary = input_ids, None
        if self.pooler is not None:
            summary = self.pooler(hidden) if self.activation is None else self.activation(self.pooler(hidden[:, 0]))
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=summary)


def encoder_features(model: PreTrainedModel, rows: TokenRows, precision: str, folder: Path) -> np.ndarray:
    """Features of shape [rows, hidden] that the head reads: the first token's last hidden state, or the mean over tokens.

    They are kept in `folder` under a hash of the encoder and the rows, so training another head does not run the encoder.
    """
    digest = hashlib.sha256(repr((precision, torch.get_num_threads(), rows.pad_id)).encode())
    for name, weights in model.base_model.state_dict().items():
        digest.update(name.encode() + weights.contiguous().numpy(force=True).tobytes())
    for row in rows.ids:
        digest.update(row)
    digest.update(rows.lengths)
    path = folder / f"{digest.hexdigest()[:16]}.safetensors"
    if path.is_file():
        return load_file(path)["features"]

    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        features = predict(model.base_model, rows, head_input(model.config), desc="features")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({"features": features}, scratch)
    scratch.replace(path)
    return features
