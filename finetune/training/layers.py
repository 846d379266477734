"""Which weights train, and how fast: the whole encoder, only the head, or layer by layer."""

from torch import nn
from transformers import PreTrainedModel

from finetune.base.params_training import Train
from finetune.encoder.first_token import encoder_layers


def blocks(model: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Parameters from the bottom up: embeddings, each layer of the encoder, and all above it (the head)."""
    base = model.base_model
    layers = list(encoder_layers(base))
    depths = {id(weights): depth for depth, layer in enumerate(layers, 1) for weights in layer.parameters()}
    for name, weights in base.named_parameters():
        if "embed" in name:
            depths.setdefault(id(weights), 0)
    top = len(layers) + 1
    parts = [[] for _ in range(top + 1)]
    for weights in model.parameters():
        parts[depths.get(id(weights), top)].append(weights)
    return parts


def parameter_groups(model: PreTrainedModel, settings: Train) -> list[dict]:
    """Groups for AdamW: each layer with its own learning rate, biases and norms without weight decay.

    With `layer_decay` d, layer k below the head has the rate lr * d ** k (Howard & Ruder 2018 call it discriminative
    fine-tuning; Clark et al. 2020 use this form). If the encoder trains too, the head, which is randomly initialised,
    has the rate lr * `head_factor`. Its groups come last, because the curves show the rate of the first group. Frozen
    parameters are left out.
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
    """Steps in which each layer trains; the head trains in all steps.

    Unfreezing: layers are unfrozen from the top, one after each equal share of the steps, until all train after the
    fraction `unfrozen_after` (Howard & Ruder 2018, "Universal Language Model Fine-tuning for Text Classification").
    Freezing: the lowest layer is frozen after the fraction `frozen_from`, and the next one after each equal share of
    the remaining steps (after Brock et al. 2017, "FreezeOut: Accelerate Training by Progressively Freezing Layers", who
    also let a layer's rate fall to 0 until then). Late steps are small, and frozen layers need no gradient.
    """

    def __init__(self, model: PreTrainedModel, steps: int, unfrozen_after: float = 0.0, frozen_from: float = 1.0):
        trained = [[weights for weights in part if weights.requires_grad] for part in reversed(blocks(model))]
        self.parts = [part for part in trained if part]
        depths, lowest = range(len(self.parts)), max(len(self.parts) - 1, 1)
        self.starts = [round(depth * steps * unfrozen_after / len(self.parts)) for depth in depths]
        self.ends = [round(steps * (1 - (1 - frozen_from) * depth / lowest)) for depth in depths]

    def apply(self, step: int):
        """Freezes and unfreezes layers for a step, counted from 0."""
        for start, end, part in zip(self.starts, self.ends, self.parts, strict=True):
            for weights in part:
                weights.requires_grad_(start <= step < end)


def layer_schedule(model: PreTrainedModel, steps: int, settings: Train) -> LayerSchedule | None:
    """Schedule of the strategy; None if the same weights train in all steps."""
    if settings.strategy == "gradual":
        return LayerSchedule(model, steps, unfrozen_after=settings.unfrozen_after)
    if settings.strategy in ("full", "lp_ft") and settings.frozen_from < 1:
        return LayerSchedule(model, steps, frozen_from=settings.frozen_from)
    return None


def freeze(model: PreTrainedModel, settings: Train):
    """Freezes the embeddings if `train.freeze_embeddings` asks for it, and the head of `contrastive`, which is no part of its loss."""
    embeddings, *_, head = blocks(model)
    frozen = embeddings if settings.freeze_embeddings else []
    for weights in [*frozen, *(head if settings.strategy == "contrastive" else [])]:
        weights.requires_grad_(False)
