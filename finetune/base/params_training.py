"""Sections of `params.yaml` about what is fitted: baseline and train."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from finetune.base.param_types import SHORT, Name, Rows, Seed, Uri, text_keys
from finetune.base.params_data import Section


class ZeroShot(Section):
    prompts: Annotated[dict[str, Name], BeforeValidator(text_keys)] | None
    template: Name

    @model_validator(mode="after")
    def template_has_placeholders(self):
        if self.template.count("{text}") != 1 or self.template.count("{label}") != 1:
            raise ValueError(
                f"must have {{text}} and {{label}} in its template, once each, found {SHORT.repr(self.template)}"
            )
        return self


class FewShot(Section):
    per_class: Annotated[int, Field(ge=1)]
    draws: Annotated[int, Field(ge=2)]


class Baseline(Section):
    skip: list[Literal["tfidf", "embedding", "untrained", "zero_shot", "few_shot"]]
    seed: Seed
    zero_shot: ZeroShot
    few_shot: FewShot


class Lora(Section):
    rank: Annotated[int, Field(ge=1)]
    alpha: Annotated[float, Field(gt=0)]
    targets: Annotated[list[Name], Field(min_length=1)] | None


WEIGHTS = (1e-6, 1e6)  # of a class; beyond, a product of weights has no digits left in float32


def checked_weights(value):
    """Weights of classes by name, "balanced" or None; raises ValueError for anything else, and for a weight that is no weight."""
    if value is None or value == "balanced":
        return value
    if not isinstance(value, dict) or not value:
        raise ValueError(
            f"must be null, balanced, or weights by label such as {{rare: 3.0}}, found {SHORT.repr(value)}"
        )
    low, high = WEIGHTS
    for name, weight in value.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not low <= weight <= high:
            raise ValueError(
                f"must have weights from {low:g} to {high:g}, found {SHORT.repr(weight)} for {SHORT.repr(name)}"
            )
    return {name: float(weight) for name, weight in text_keys(value).items()}


class Train(Section):
    engine: Literal["trainer", "loop"]
    strategy: Literal["auto", "full", "lp_ft", "contrastive", "head", "gradual", "lora"]
    lr: Annotated[float, Field(gt=0, le=1)] | None
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    head_factor: Annotated[float, Field(gt=0, le=100)]
    freeze_embeddings: bool
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    frozen_from: Annotated[float, Field(gt=0, le=1)]
    unfrozen_after: Annotated[float, Field(ge=0, le=1)]
    lora: Lora
    epochs: Annotated[int, Field(ge=1, le=1000)] | None
    min_steps: Annotated[int, Field(ge=1, le=1_000_000)] | None
    max_steps: Annotated[int, Field(ge=1)] | None
    patience: Annotated[int, Field(ge=1)] | None
    batch_size: Rows
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    precision: Literal["auto", "bf16", "fp32"]
    processes: Annotated[int, Field(ge=1)]
    seed: Seed
    # Where they have their defaults, training.json leaves them out.
    class_weights: Annotated[dict[str, float] | Literal["balanced"] | None, BeforeValidator(checked_weights)] = None
    best: Literal["accuracy", "f1", "loss"] = "accuracy"
    teacher: Uri | None = None
    teacher_weight: Annotated[float, Field(ge=0, le=1)] = 0.5
    teacher_temperature: Annotated[float, Field(gt=0, le=100)] = 2.0

    @model_validator(mode="after")
    def has_the_key_that_dvc_reads(self):
        # Its default keeps it out of training.json, but dvc.yaml names it, and DVC wants a key that it names.
        if "teacher" not in self.model_fields_set:
            raise ValueError("must have the key teacher; add `teacher: null`")
        return self

    @model_validator(mode="after")
    def pairs_have_no_teacher(self):
        if self.strategy == "contrastive" and self.teacher is not None:
            raise ValueError(
                "must have no teacher with strategy contrastive, which learns from pairs of rows and not from "
                f"probabilities, found {SHORT.repr(self.teacher)}; set train.teacher to null or choose another strategy"
            )
        return self
