"""`params.yaml`, typed: every key, its type and its limits.

Every stage reads the whole file, so that a mistake anywhere stops the first stage that runs, and
gets back only the sections that it names, which are the ones `dvc.yaml` lists for it.
"""

import difflib
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from finetune.base.errors import UserError, one_line, run

PARAMS = Path("params.yaml")


class Loader(yaml.SafeLoader):
    """YAML 1.2's core schema, which DVC also reads.

    PyYAML's own YAML 1.1 takes `3e-05` for a string and `yes` for a truth value; DVC writes the
    first after `dvc exp run -S train.lr=3e-5`. https://yaml.org/spec/1.2.2/#103-core-schema
    """

    yaml_implicit_resolvers: ClassVar[dict] = {}

    def construct_mapping(self, node, deep=False):
        """Mapping of a node; a key given twice is an error, where PyYAML would keep the last."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands there twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+0123456789."),
    ),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(rf"^(?:{pattern})$"), first)
# PyYAML would read 010 as octal 8; in YAML 1.2 it is ten.
Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(loader.construct_scalar(node)))
Loader.add_constructor(
    "tag:yaml.org,2002:float",
    lambda loader, node: float(loader.construct_scalar(node).lower().replace(".inf", "inf").replace(".nan", "nan")),
)


def value_text(value) -> str:
    """A raw label as it stands in a data file: `1` -> "1", `true` -> "true"."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def text_keys(labels):
    """Labels with every key as text, as tables hold them: {0: negative} -> {"0": negative}."""
    return {value_text(key): name for key, name in labels.items()} if isinstance(labels, dict) else labels


class Section(BaseModel):
    """One section: no unknown key, no silent conversion of types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
Name = Annotated[str, Field(min_length=1)]
Rows = Annotated[int, Field(ge=1)] | None
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Data(Section):
    uri: Name
    sha256: Sha256
    text: Name
    label: Name
    labels: Annotated[dict[str, Name], Field(min_length=2), BeforeValidator(text_keys)] | None
    group: Name | None


class Model(Section):
    uri: Name
    sha256: Sha256


class Split(Section):
    validation: Share
    test: Share
    train_rows: Rows
    test_rows: Rows
    seed: Seed

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self):
        if self.validation + self.test >= 1:
            raise ValueError(
                f"must leave rows to train on: validation {self.validation} and test {self.test} add up to 1 or more"
            )
        return self


class Tokenize(Section):
    max_length: Annotated[int, Field(ge=3)]  # [CLS], one token, [SEP]
    truncation: Literal["head", "head_tail"]


class ZeroShot(Section):
    prompts: dict[str, Name] | None
    template: Name

    @model_validator(mode="after")
    def template_has_places(self):
        if "{text}" not in self.template or "{label}" not in self.template:
            raise ValueError(f"must hold {{text}} and {{label}} in its template, found {self.template!r}")
        return self


class FewShot(Section):
    per_class: Annotated[int, Field(ge=1)]
    draws: Annotated[int, Field(ge=2)]


class Baseline(Section):
    seed: Seed
    zero_shot: ZeroShot
    few_shot: FewShot


class Lora(Section):
    rank: Annotated[int, Field(ge=1)]
    alpha: Annotated[float, Field(gt=0)]
    targets: Annotated[list[Name], Field(min_length=1)] | None


class Train(Section):
    engine: Literal["trainer", "loop"]
    strategy: Literal["full", "head", "gradual", "lora"]
    lr: Annotated[float, Field(gt=0, le=1)]
    layer_decay: Annotated[float, Field(gt=0, le=1)]
    head_factor: Annotated[float, Field(gt=0, le=100)]
    freeze_embeddings: bool
    dropout: Annotated[float, Field(ge=0, lt=1)] | None
    frozen_from: Annotated[float, Field(gt=0, le=1)]
    unfrozen_after: Annotated[float, Field(ge=0, le=1)]
    lora: Lora
    epochs: Annotated[int, Field(ge=1, le=1000)]
    patience: Annotated[int, Field(ge=1)] | None
    batch_size: Annotated[int, Field(ge=1)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    precision: Literal["auto", "bf16", "fp32"]
    processes: Annotated[int, Field(ge=1)]
    seed: Seed


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


class Int8(Section):
    max_drop: Annotated[float, Field(ge=0, le=1)]


class Export(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
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
    """Thresholds by the dotted name of a metric, and what is asked of the gain over the best baseline."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Threshold] = Field(init=False)
    min_gain: Annotated[float, Field(ge=0, lt=1)] | None = None

    @property
    def thresholds(self) -> dict[str, Threshold]:
        return self.__pydantic_extra__


class Params(Section):
    data: Data
    model: Model
    split: Split
    tokenize: Tokenize
    baseline: Baseline
    train: Train
    evaluate: Evaluate
    export: Export
    gate: Gate


def read_params(*sections: str, path: Path = PARAMS):
    """Named sections of the parameters, in the order asked for; one alone comes without a tuple.

    Raises UserError when anything in the file is wrong, also in the sections not asked for.
    """
    params = check_params(parse_yaml(path), source=str(path))
    values = tuple(getattr(params, section) for section in sections)
    return values[0] if len(values) == 1 else values


def parse_yaml(path: Path):
    """Content of a YAML file; raises UserError when it is missing or no YAML."""
    try:
        return parse_yaml_text(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; run this from the project's root") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid YAML: {one_line(error)}") from None


def parse_yaml_text(text: str, source: str):
    """Content of a YAML text; raises UserError, which names the source, when it is no YAML."""
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise UserError(f"{source} is not valid YAML: {one_line(error)}") from None


def check_params(values, source: str) -> Params:
    """Parameters from plain values; raises UserError that names the first wrong key and counts the others."""
    if not isinstance(values, dict):
        raise UserError(f"{source} must hold sections such as train:, found {values!r}")
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        problems = error.errors()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{source}: {explain(problems[0], values)}{more}") from None


def explain(problem: dict, values: dict) -> str:
    """One pydantic problem as a sentence: the key, what is allowed, what was found."""
    # A union adds the name of its branch and a dictionary's key its marker; neither is a key of the file.
    path, place = [], values
    for part in problem["loc"]:
        if isinstance(place, dict) and (part in place or problem["type"] == "missing"):
            path.append(str(part))
            place = place.get(part)
    key = ".".join(path) or "the file"
    match problem["type"]:
        case "missing":
            return f"{key} is missing; add it (README lists every parameter)"
        case "extra_forbidden":
            return f"{key} is not a parameter; {suggestion(path)}"
        case "value_error":
            return f"{key} {problem['ctx']['error']}"
        case "string_pattern_mismatch":
            return f"{key} must match {problem['ctx']['pattern']}, found {problem['input']!r}"
    # "Input should be at least 1", "Dictionary should have at least 2 items after validation, not 1"
    message = re.sub(r"^\w+ should", "must", problem["msg"]).replace(" after validation", "")
    message = re.sub(r" or instance of \w+", "", message)  # a class of ours means nothing in a file
    return f"{key} {message}, found {problem['input']!r}"


def suggestion(path: list[str]) -> str:
    """The parameter that a misspelt one was meant to be, and those that stand beside it."""
    model = Params
    for part in path[:-1]:
        # A metric's name is a key of gate: that no schema knows.
        model = model.model_fields[part].annotation if part in model.model_fields else Threshold
    known = list(model.model_fields)
    prefix = "".join(f"{part}." for part in path[:-1])
    close = difflib.get_close_matches(path[-1], known, n=1)
    return (
        f"did you mean {prefix}{close[0]}? " if close else ""
    ) + f"{prefix.rstrip('.') or 'the file'} takes {', '.join(known)}"


if __name__ == "__main__":
    # `make repro` checks the file first: DVC deletes a stage's outputs before the stage can complain.
    raise SystemExit(run(lambda: print("params.yaml is in order") if read_params("gate") is not None else None))
