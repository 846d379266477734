"""Sections of `params.yaml` about a trained model: evaluate, decide, export and gate; and search."""

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from finetune.base.param_types import SHORT, Label, Name, Share
from finetune.base.params_data import Section


class Slices(Section):
    min_rows: Annotated[int, Field(ge=1)]
    negations: list[Name]


class Behaviour(Section):
    rows: Annotated[int, Field(ge=0)]
    neutral: list[Name]
    negation_flips: bool


class Checks(Section):
    similarity: Annotated[float, Field(ge=0.5, le=1)]  # below, unrelated texts would be compared one by one


class Evaluate(Section):
    bins: Annotated[int, Field(ge=2, le=100)]
    mistakes: Annotated[int, Field(ge=0)]
    slices: Slices
    behaviour: Behaviour
    checks: Checks


class LabelThreshold(Section):
    """A label of two that is answered from a threshold on, which validation gives for a precision or a recall."""

    label: Label
    precision: Share | None = None
    recall: Share | None = None

    @model_validator(mode="after")
    def wants_one(self):
        if (self.precision is None) == (self.recall is None):
            found = "both" if self.recall is not None else "neither"
            raise ValueError(f"must want a precision or a recall for its label, found {found}")
        return self


class Decide(Section):
    min_probability: Share | None
    min_accuracy: Share | None
    threshold: LabelThreshold | None

    @model_validator(mode="after")
    def has_one_rule(self):
        named = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(named) > 1:
            raise ValueError(
                f"must have at most one rule, found {' and '.join(named)}; set the others to null: a text is either left "
                "unanswered or decided by a threshold"
            )
        return self

    @property
    def leaves_unsure(self) -> bool:
        """Whether some texts may be left without an answer."""
        return self.min_probability is not None or self.min_accuracy is not None


class Int8(Section):
    max_drop: Annotated[float, Field(ge=0, le=1)]


class Export(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] | None
    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")] | None
    tolerance: Annotated[float, Field(gt=0)]
    int8: Int8


class Threshold(Section):
    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def sets_one(self):
        if self.min is None and self.max is None:
            raise ValueError("must set a min or a max")
        return self


class Gate(Section):
    """Thresholds by the dotted name of a metric, and the smallest allowed gain over the best baseline."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Threshold] = Field(init=False)
    min_gain: Annotated[float, Field(ge=0, lt=1)] | None = None

    @property
    def thresholds(self) -> dict[str, Threshold]:
        return self.__pydantic_extra__


SEARCH_RANGE = "a list of choices such as [1, 2, 3], or a range such as {low: 1.0e-5, high: 2.0e-4, log: true}"


def search_range(value):
    """What a search may choose from: a list of at least two plain values, or `low` and `high` with `log` or `step`.

    Raises ValueError for anything else. Whether the parameter takes these values is for `finetune.search.space` to say.
    """
    if isinstance(value, list):
        if any(isinstance(item, list | dict) for item in value) or len({repr(item) for item in value}) < max(
            2, len(value)
        ):
            raise ValueError(f"must list at least two different plain values, found {SHORT.repr(value)}")
        return value
    if not isinstance(value, dict) or not {"low", "high"} <= set(value) <= {"low", "high", "log", "step"}:
        raise ValueError(f"must be {SEARCH_RANGE}, found {SHORT.repr(value)}")
    numbers = [value[name] for name in ("low", "high", "step") if name in value]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ValueError(f"must have numbers for low, high and step, found {SHORT.repr(value)}")
    if not -math.inf < value["low"] < value["high"] < math.inf:
        raise ValueError(f"must have a low below its high, found {SHORT.repr(value)}")
    if not isinstance(value.get("log", False), bool):
        raise ValueError(f"must have true or false for log, found {SHORT.repr(value['log'])}")
    if value.get("log") and (value["low"] <= 0 or "step" in value):
        raise ValueError(f"must have a low above 0 and no step with log: true, found {SHORT.repr(value)}")
    if not 0 < value.get("step", 1) < math.inf:
        raise ValueError(f"must have a step above 0, found {SHORT.repr(value['step'])}")
    return value


def no_single_seed(seeds: int) -> int:
    """The number itself; raises ValueError for 1."""
    if seeds == 1:
        raise ValueError("must be 0, or at least 2, because one run has no spread; found 1")
    return seeds


class Search(Section):
    """Ranges by the dotted name of a parameter, the validation score to improve, and the seeds that show its noise."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[object, AfterValidator(search_range)]] = Field(init=False)
    metric: Literal["validation.accuracy", "validation.f1", "validation.loss"] = "validation.accuracy"
    seeds: Annotated[int, Field(ge=0, le=100), AfterValidator(no_single_seed)] = 3

    @property
    def ranges(self) -> dict[str, list | dict]:
        return self.__pydantic_extra__
