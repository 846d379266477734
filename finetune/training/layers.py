"""The layers of a classifier: the learning rate of each, and the steps in which it trains."""

from torch import nn
from transformers import PreTrainedModel

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


def layer_rates(
    model: PreTrainedModel, lr: float, layer_decay: float, head_factor: float
) -> list[tuple[list[nn.Parameter], float]]:
    """Weights and their learning rate, from the layer below the head down; the head comes last.

    With `layer_decay` d, layer k below the head has the rate lr * d ** k (Howard & Ruder 2018 call it discriminative
    fine-tuning; Clark et al. 2020 use this form). The head, which is randomly initialised, has the rate lr * `head_factor`.
    """
    head, *encoder = reversed(blocks(model))
    rated = [(part, lr * layer_decay**below) for below, part in enumerate(encoder, 1)]
    return [*rated, (head, lr * head_factor)]


def parameter_groups(rated: list[tuple[list[nn.Parameter], float]], weight_decay: float) -> list[dict]:
    """Groups for AdamW from weights and their learning rate: biases and norms have no weight decay.

    The curves show the rate of the first group. Frozen parameters are left out.
    """
    groups = []
    for part, rate in rated:
        trained = [weights for weights in part if weights.requires_grad]
        for decays in (True, False):
            # Biases and the scales of norms are vectors, everything else has two axes.
            members = [weights for weights in trained if (weights.ndim > 1) == decays]
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": weight_decay if decays else 0.0})
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
