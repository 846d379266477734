"""Which weights train, and how fast: the whole encoder, only the head, or layer by layer."""

from torch import nn
from transformers import PreTrainedModel

from finetune.base.params import Train
from finetune.encoder.first_token import encoder_layers


def blocks(model: PreTrainedModel) -> list[list[nn.Parameter]]:
    """Parameters from the bottom up: embeddings, each layer of the encoder, and all above it (the head)."""
    base = model.base_model
    found = list(encoder_layers(base))
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


def freeze(model: PreTrainedModel, settings: Train):
    """Takes from training what the strategy leaves as it is."""
    if settings.freeze_embeddings:
        for weights in blocks(model)[0]:
            weights.requires_grad_(False)
