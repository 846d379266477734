"""What each `train.strategy` does: how its model starts, which weights it trains at which rates, its loss, and its end."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from finetune.base.params_training import Train
from finetune.encoder.batches import FeatureRows
from finetune.encoder.models import output_layer
from finetune.training.adapters import with_adapters
from finetune.training.contrast import pair_loss, representations
from finetune.training.distillation import distilled
from finetune.training.frozen_encoder import FeaturesAsEncoder, encoder_features
from finetune.training.labelled_rows import LabelledRows
from finetune.training.layers import LayerSchedule, blocks, layer_rates
from finetune.training.order import WINDOW
from finetune.training.probe import fit_head
from finetune.training.task import OneLabel, SeveralLabels


class Strategy:
    """What the strategies have in common: all weights but perhaps the embeddings learn from the loss of each row.

    `precision` is "fp32" or "bf16"; `features` is the folder for what a frozen encoder computes.
    """

    window = WINDOW  # batches whose rows are sorted by length together
    fewest = 1  # rows of a part of a batch

    def __init__(self, settings: Train, task: OneLabel | SeveralLabels, precision: str, features: Path):
        self.settings, self.task, self.precision, self.features = settings, task, precision, features

    def start(self, model: PreTrainedModel, rows: LabelledRows) -> PreTrainedModel:  # noqa: ARG002
        """The model as it trains; it may replace the `rows` by what that model reads."""
        if self.settings.freeze_embeddings:
            freeze(blocks(model)[0])
        return model

    def rates(self, model: PreTrainedModel) -> list[tuple[list[nn.Parameter], float]]:
        """Weights and their learning rate, the head's last."""
        return layer_rates(model, self.settings.lr, self.settings.layer_decay, self.settings.head_factor)

    def schedule(self, model: PreTrainedModel, steps: int) -> LayerSchedule | None:  # noqa: ARG002
        """Steps in which each layer trains; None if the same weights train in all steps."""
        return None

    def loss(self, model, part: dict[str, torch.Tensor]) -> torch.Tensor:
        """Contribution of a part to the mean loss over the rows of the global batch, weighted by class if asked for.

        The loss of a row is that of the task, mixed with the divergence from the teacher if there is one. Each process sees
        its share of the rows. The weights make the mean over processes equal to the mean over rows.
        """
        logits = model(**model_inputs(part)).logits.float()
        losses = self.task.losses(logits, part["labels"])
        if "soft_labels" in part:
            losses = distilled(losses, logits, part["soft_labels"], self.settings, self.task)
        return (losses * part["weights"]).sum()

    def refit(self, model: PreTrainedModel, rows: LabelledRows) -> np.ndarray | None:  # noqa: ARG002
        """Fits what the steps do not train, before each validation; logits of the validation rows if it has them already."""
        return None

    def trained(self, model: PreTrainedModel) -> dict[str, nn.Parameter]:
        """Weights that the training changes, by name."""
        return {name: weights for name, weights in model.named_parameters() if weights.requires_grad}

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        """The plain classifier."""
        return model


class Full(Strategy):
    """Late in the training, layers are frozen one by one from the bottom."""

    def schedule(self, model: PreTrainedModel, steps: int) -> LayerSchedule | None:
        if self.settings.frozen_from == 1:
            return None
        return LayerSchedule(model, steps, frozen_from=self.settings.frozen_from)


class LpFt(Full):
    """The head starts as a logistic regression (Kumar et al. 2022)."""

    def start(self, model: PreTrainedModel, rows: LabelledRows) -> PreTrainedModel:
        fit_head(model, rows, self.precision, self.task)
        return super().start(model, rows)


class Gradual(Strategy):
    """Layers are unfrozen one by one from the top (Howard & Ruder 2018)."""

    def schedule(self, model: PreTrainedModel, steps: int) -> LayerSchedule:
        return LayerSchedule(model, steps, unfrozen_after=self.settings.unfrozen_after)


class Contrastive(Strategy):
    """Pairs of rows train the encoder; the head is a logistic regression on it (after SetFit, Tunstall et al. 2022)."""

    window = 1  # sorted by length, a few hundred rows would be in much the same batches in each epoch, and so in the same pairs
    fewest = 2  # one row has no pair

    def start(self, model: PreTrainedModel, rows: LabelledRows) -> PreTrainedModel:
        freeze(blocks(model)[-1])  # no part of the loss
        return super().start(model, rows)

    def loss(self, model, part: dict[str, torch.Tensor]) -> torch.Tensor:
        """Loss of the pairs within a part, which counts with the weights of the part's rows."""
        texts = representations(model, model(**model_inputs(part), output_hidden_states=True), part)
        return pair_loss(texts, part["labels"], part["weights"]) * part["weights"].sum()

    def refit(self, model: PreTrainedModel, rows: LabelledRows) -> np.ndarray:
        return fit_head(model, rows, self.precision, self.task)

    def trained(self, model: PreTrainedModel) -> dict[str, nn.Parameter]:
        fitted = output_layer(model, model.config.num_labels).removesuffix("weight")
        output = {name: weights for name, weights in model.named_parameters() if name.startswith(fitted)}
        return super().trained(model) | output


class OneRate(Strategy):
    """All weights that train have the rate `lr`."""

    def rates(self, model: PreTrainedModel) -> list[tuple[list[nn.Parameter], float]]:
        return [(list(model.parameters()), self.settings.lr)]


class Head(OneRate):
    """The head alone, on features that the frozen encoder computes once."""

    def start(self, model: PreTrainedModel, rows: LabelledRows) -> PreTrainedModel:
        rows.train, rows.validation = (
            FeatureRows(encoder_features(model, part, self.precision, self.features))
            for part in (rows.train, rows.validation)
        )
        self.encoder = model.base_model
        setattr(model, model.base_model_prefix, FeaturesAsEncoder(self.encoder))
        return model

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        self.encoder.pooler = getattr(model, model.base_model_prefix).pooler
        setattr(model, model.base_model_prefix, self.encoder)
        return model


class Lora(OneRate):
    """Low-rank adapters in the encoder, and the head (Hu et al. 2021)."""

    def start(self, model: PreTrainedModel, rows: LabelledRows) -> PreTrainedModel:  # noqa: ARG002
        return with_adapters(model, self.settings)

    def finish(self, model: PreTrainedModel) -> PreTrainedModel:
        return model.merge_and_unload()


STRATEGIES: dict[str, type[Strategy]] = {
    "full": Full,
    "lp_ft": LpFt,
    "contrastive": Contrastive,
    "head": Head,
    "gradual": Gradual,
    "lora": Lora,
}


def freeze(weights: Iterable[nn.Parameter]):
    """No step changes these weights."""
    for parameter in weights:
        parameter.requires_grad_(False)


def model_inputs(part: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What a model reads of a part."""
    return {name: part[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in part}
