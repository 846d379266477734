"""Which weights train, and with what step: the whole encoder, only the head, layer by layer, or adapters."""

import hashlib
import os
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn
from transformers import PreTrainedModel, set_seed
from transformers.modeling_outputs import BaseModelOutputWithPooling

from finetune.base.errors import UserError
from finetune.base.params import Train
from finetune.encoder.batches import TokenRows
from finetune.encoder.models import layers, predict


def blocks(model: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Parameters from the bottom up: embeddings, each layer of the encoder, and all above it (the head)."""
    base = model.base_model
    found = list(layers(base))
    place = {id(weights): depth for depth, layer in enumerate(found, 1) for weights in layer.parameters()}
    for name, weights in base.named_parameters():
        if "embed" in name:
            place.setdefault(id(weights), 0)
    top = len(found) + 1
    parts = [[] for _ in range(top + 1)]
    for weights in model.parameters():
        parts[place.get(id(weights), top)].append(weights)
    return parts


def parameter_groups(model: PreTrainedModel, settings: Train) -> list[dict]:
    """Groups for AdamW: each layer with its own rate, biases and norms without weight decay.

    With `layer_decay` d the layer k below the head has the rate lr * d ** k (Howard & Ruder 2018 call it
    discriminative fine-tuning; Clark et al. 2020 use this form). Beside an encoder that trains, the head, which
    starts from nothing, has `head_factor` times the rate; its groups come last, because the curves show the rate
    of the first. Parameters that do not train are left out.
    """
    if settings.strategy == "lora":
        rated = [(list(model.parameters()), settings.lr)]
    else:
        head, *encoder = reversed(blocks(model))
        rated = [(part, settings.lr * settings.layer_decay**below) for below, part in enumerate(encoder, 1)]
        rated.append((head, settings.lr * (1 if settings.strategy == "head" else settings.head_factor)))
    groups = []
    for part, rate in rated:
        trained = [weights for weights in part if weights.requires_grad]
        for decays in (True, False):
            # Biases and the scales of norms are vectors, everything else has two axes.
            members = [weights for weights in trained if (weights.ndim > 1) == decays]
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": settings.weight_decay if decays else 0.0})
    return groups


class LayerSchedule:
    """Schedule of the steps in which each layer trains; the head trains in all.

    One more layer begins after each equal share of the steps, from the top, so that all do after the share
    `unfrozen_after` (gradual unfreezing: Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text
    Classification"). From the share `frozen_from` on the lowest one stands still, and one more after each equal share
    of what is left (after Brock et al. 2017, "FreezeOut: Accelerate Training by Progressively Freezing Layers", who also
    let each layer's rate fall to 0 by then): late steps are small, and no gradient need go below the layers that train.
    """

    def __init__(self, model: PreTrainedModel, steps: int, unfrozen_after: float = 0.0, frozen_from: float = 1.0):
        trained = [[weights for weights in part if weights.requires_grad] for part in reversed(blocks(model))]
        self.parts = [part for part in trained if part]
        depths, lowest = range(len(self.parts)), max(len(self.parts) - 1, 1)
        self.starts = [round(depth * steps * unfrozen_after / len(self.parts)) for depth in depths]
        self.ends = [round(steps * (1 - (1 - frozen_from) * depth / lowest)) for depth in depths]

    def apply(self, step: int):
        """Freezes and unfreezes for the step with this number, counted from 0."""
        for start, end, part in zip(self.starts, self.ends, self.parts, strict=True):
            for weights in part:
                weights.requires_grad_(start <= step < end)


def layer_schedule(model: PreTrainedModel, steps: int, settings: Train) -> LayerSchedule | None:
    """Schedule that the strategy asks for; None where the same weights train in all steps."""
    if settings.strategy == "gradual":
        return LayerSchedule(model, steps, unfrozen_after=settings.unfrozen_after)
    if settings.strategy == "full" and settings.frozen_from < 1:
        return LayerSchedule(model, steps, frozen_from=settings.frozen_from)
    return None


class FeaturesAsEncoder(nn.Module):
    """The frozen encoder's place in a classifier that is fed with the encoder's features.

    `input_ids` of shape [rows, 1, hidden] are features; they come out as the last hidden state. What
    the encoder has above its last layer (a pooler) is kept and trains with the head.
    """

    def __init__(self, base: nn.Module):
        super().__init__()
        self.pooler = getattr(base, "pooler", None)
        self.activation = getattr(base, "pooler_activation", None)  # ALBERT keeps its pooler's apart

    def forward(self, input_ids: torch.Tensor, **_) -> BaseModelOutputWithPooling:
        hidden, pooled = input_ids, None
        if self.pooler is not None:
            pooled = self.pooler(hidden) if self.activation is None else self.activation(self.pooler(hidden[:, 0]))
        return BaseModelOutputWithPooling(last_hidden_state=hidden, pooler_output=pooled)


def encoder_features(model: PreTrainedModel, rows: TokenRows, precision: str, folder: Path) -> np.ndarray:
    """What the head sees of each row, of shape [rows, hidden]: the first token's last hidden state, or the mean.

    Kept in `folder` under a hash of the encoder and the rows: training another head needs no encoder.
    """
    digest = hashlib.sha256(repr((precision, torch.get_num_threads(), rows.pad_id)).encode())
    for name, weights in model.base_model.state_dict().items():
        digest.update(name.encode() + weights.contiguous().numpy(force=True).tobytes())
    digest.update(np.concatenate([np.asarray(row, np.int64) for row in rows.ids]).tobytes())
    digest.update(np.array(rows.lengths).tobytes())
    path = folder / f"{digest.hexdigest()[:16]}.safetensors"
    if path.is_file():
        return load_file(path)["features"]

    mean = getattr(model.config, "classifier_pooling", "cls") == "mean"  # ModernBERT can

    def pool(output, batch):
        if not mean:
            return output.last_hidden_state[:, 0]
        mask = batch["attention_mask"].unsqueeze(-1)
        return (output.last_hidden_state * mask).sum(1) / mask.sum(1)

    with torch.autocast(model.device.type, torch.bfloat16, enabled=precision == "bf16"):
        found = predict(model.base_model, rows, pool, desc="features")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({"features": found}, scratch)
    scratch.replace(path)
    return found


def with_adapters(model: PreTrainedModel, settings: Train):
    """Classifier with low-rank adapters (LoRA, Hu et al. 2021) in the encoder's linear layers; the head trains whole.

    Raises UserError when `train.lora.targets` names no linear layer of this encoder.
    """
    from peft import LoraConfig, get_peft_model

    base = model.base_model
    linear = [name for name, module in base.named_modules() if isinstance(module, nn.Linear)]
    layers = [name for name in linear if any(part.isdigit() for part in name.split("."))]
    targets = settings.lora.targets
    if targets is not None:
        known = sorted({name.split(".")[-1] for name in layers})
        missing = [target for target in targets if target not in known]
        if missing:
            raise UserError(
                f"train.lora.targets must name linear layers of this encoder, which are {', '.join(known)}; "
                f"found {', '.join(missing)}"
            )
        layers = [name for name in layers if name.split(".")[-1] in targets]
    head = [name for name, _ in model.named_children() if name != model.base_model_prefix]
    head += ["pooler"] if getattr(base, "pooler", None) is not None else []
    set_seed(settings.seed)
    config = LoraConfig(
        r=settings.lora.rank,
        lora_alpha=settings.lora.alpha,
        target_modules=[f"{model.base_model_prefix}.{name}" for name in layers],
        modules_to_save=[name for name in head if any(True for _ in named_child(model, name).parameters())],
        task_type="SEQ_CLS",
    )
    with warnings.catch_warnings():
        # The library asks for a property by its old name.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return get_peft_model(model, config)


def named_child(model: PreTrainedModel, name: str) -> nn.Module:
    """Module of the head, which stands in the classifier or in its encoder."""
    return getattr(model, name, None) or getattr(model.base_model, name)


def freeze(model: PreTrainedModel, settings: Train):
    """Takes from training what the strategy leaves as it is."""
    if settings.freeze_embeddings:
        for weights in blocks(model)[0]:
            weights.requires_grad_(False)
