"""A classifier whose head reads the mean over all tokens: one more layer, whose attention is uniform."""

import copy

import torch
from torch import nn

from finetune.encoder.first_token import encoder_layers

# Names inside a layer, by family: query, key, value, output of the attention and its norm, output of the network, its norm.
NAMES = (
    (
        *("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"),
        *("attention.output.LayerNorm", "output.dense", "output.LayerNorm"),
    ),
    (
        *("attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"),
        *("sa_layer_norm", "ffn.lin2", "output_layer_norm"),
    ),
)
HEADS = (
    "pooler.dense",
    "pre_classifier",
    "classifier.dense",
)  # the linear layer between the encoder and the output layer
SCALE = 10.0  # of the mean against the first token, which a layer adds to the output of its attention
SLOPE = 0.25  # of the head's first layer: features have a standard deviation of 1, and tanh is nearly linear below 0.5


def read_the_mean(model) -> bool:
    """Changes a classifier in place so that its head reads the mean over tokens; False if its family has no such layers.

    The mean of the last hidden states is a better representation of a text than the first token (Reimers & Gurevych 2019),
    but the heads of most families read that token. A layer whose queries and keys are 0 attends to all tokens alike, so with
    the identity as its values and output it writes their mean into each token, here `SCALE` times as large as the token
    itself; the norm after it takes the scale away. Its feed-forward network starts at 0. All of it trains like other layers.
    The head's own first layer starts as `SLOPE` times the identity.
    """
    if getattr(model.config, "classifier_pooling", None) == "cls":
        model.config.classifier_pooling = "mean"  # an option of ModernBERT
        return True
    layers = encoder_layers(model.base_model)
    names = next((names for names in NAMES if len(layers) and all(submodule(layers[-1], name) for name in names)), None)
    if names is None or len(layers) != model.config.num_hidden_layers:
        return False
    layer = copy.deepcopy(layers[-1])
    query, key, value, output, norm, network, network_norm = (submodule(layer, name) for name in names)
    with torch.no_grad():
        for linear in (query, key, network):
            nn.init.zeros_(linear.weight)
        for linear in (value, output):
            nn.init.eye_(linear.weight).mul_(SCALE**0.5)
        for linear in (query, key, value, output, network):
            nn.init.zeros_(linear.bias)
        for each in (norm, network_norm):
            nn.init.ones_(each.weight)
            nn.init.zeros_(each.bias)
        first = next(
            (found for name in HEADS for owner in (model.base_model, model) if (found := submodule(owner, name))), None
        )
        if first is not None and first.in_features == first.out_features:
            nn.init.eye_(first.weight).mul_(SLOPE)
            # DistilBERT has a ReLU and ELECTRA a GELU behind it, which pass only positive numbers on unchanged.
            nn.init.constant_(first.bias, 0.0 if tanh_follows(model) else 3.0)
    layers.append(layer)
    model.config.num_hidden_layers += 1
    return True


def tanh_follows(model) -> bool:
    """Whether the head's first layer ends in tanh: BERT's pooler, and RoBERTa's head."""
    return model.config.model_type not in ("distilbert", "electra")


def submodule(module: nn.Module, name: str) -> nn.Module | None:
    """Module by its dotted name, None without one."""
    try:
        return module.get_submodule(name)
    except AttributeError:
        return None
