"""`params.yaml`, typed: every key, its type and its limits.

Every stage checks the whole file, so a mistake anywhere stops the first stage that runs. A stage gets only the sections
that it names; these are the sections that `dvc.yaml` lists for it.
"""

import difflib
import math
import re
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.names import UNSURE_NAME
from finetune.base.param_types import SHORT, Label, Name, Rows, Seed, Sha256, Share, Uri, several, text_keys
from finetune.base.terminal import say
from finetune.base.yaml_file import parse_yaml

PARAMS = Path("params.yaml")


class Section(BaseModel):
    """One section: no unknown key, no silent conversion of types, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


# A union of its own for lists, so that a message is about the one or the other.
Columns = Annotated[
    Annotated[Label, Tag("one")] | Annotated[list[Label], AfterValidator(several), Tag("several")],
    Discriminator(lambda value: "several" if isinstance(value, list) else "one"),
]


def visible_separator(separator: str) -> str:
    """The separator itself; raises ValueError for an empty one, which would separate nothing."""
    if not separator:
        raise ValueError('must have at least one character, such as ";", found an empty text')
    return separator


class Data(Section):
    uri: Uri
    sha256: Sha256
    text: Columns
    label: Label | Annotated[list[Label], Field(min_length=2)]
    labels: Annotated[dict[str, Label], Field(min_length=2), BeforeValidator(text_keys)] | None
    group: Label | None
    task: Literal["single_label", "multi_label"] = "single_label"
    separator: Annotated[str, AfterValidator(visible_separator)] | None = None

    @property
    def label_columns(self) -> list[str]:
        """Columns that hold the labels: one, or a column of 0 and 1 for each label."""
        return [self.label] if isinstance(self.label, str) else self.label

    @property
    def list_column(self) -> str | None:
        """The column whose cells may be lists; None for one label per text, and where other forms hold the labels."""
        lists = self.task == "multi_label" and self.separator is None and isinstance(self.label, str)
        return self.label if lists else None

    @model_validator(mode="after")
    def label_has_the_form_of_the_task(self):
        columns = not isinstance(self.label, str)
        if self.task == "single_label" and (columns or self.separator is not None):
            given = "several columns as its label" if columns else "a separator"
            raise ValueError(f"must have task: multi_label for {given}, found task: single_label")
        if columns and self.separator is not None:
            raise ValueError("must have separator: null where its label names several columns of 0 and 1")
        if len(set(self.label_columns)) < len(self.label_columns):
            raise ValueError(f"must name each column of its label once, found {SHORT.repr(self.label)}")
        return self

    @model_validator(mode="after")
    def columns_differ(self):
        for column in self.label_columns:
            for key, value, others in (("label", column, self.columns), ("group", self.group, [column])):
                if value in others:
                    taken = "the texts" if key == "label" else "the labels"
                    raise ValueError(
                        f"must name another column as its {key}, found {SHORT.repr(value)} for {taken} too"
                    )
        return self

    @property
    def columns(self) -> list[str]:
        """Names of the columns of the texts."""
        return [self.text] if isinstance(self.text, str) else self.text


class Model(Section):
    uri: Uri
    sha256: Sha256


class Split(Section):
    validation: Share
    test: Share
    train_rows: Rows
    test_rows: Rows
    held_out_rows: Rows
    folds: Annotated[int, Field(ge=2, le=100)] | None
    fold: Annotated[int, Field(ge=0)] | None
    seed: Seed

    @model_validator(mode="after")
    def leaves_rows_to_train_on(self):
        if self.validation + self.test >= 1:
            raise ValueError(
                f"must leave rows to train on: validation {self.validation} and test {self.test} add up to 1 or more"
            )
        return self

    @model_validator(mode="after")
    def tests_on_one_fold(self):
        if (self.folds is None) != (self.fold is None):
            given, absent = ("folds", "fold") if self.fold is None else ("fold", "folds")
            raise ValueError(
                f"must set both folds and fold, or neither: {given} is {getattr(self, given)}, {absent} is null "
                "(`make folds FOLDS=5` runs every fold)"
            )
        if self.folds is None:
            return self
        if self.fold >= self.folds:
            raise ValueError(f"must name one of {self.folds} folds, 0 to {self.folds - 1}, found fold {self.fold}")
        if self.test_rows is not None:
            raise ValueError(f"must have test_rows null with folds, which test every row, found {self.test_rows}")
        if self.validation + 1 / self.folds >= 1:
            raise ValueError(
                f"must leave rows to train on: validation {self.validation} and one of {self.folds} folds add up to 1 or more"
            )
        return self

    def recorded(self) -> dict:
        """The settings as a file records them, without those of folds where there are none."""
        return self.model_dump(exclude=None if self.folds else {"folds", "fold"})


class Tokenize(Section):
    max_length: Annotated[int, Field(ge=3)]  # [CLS], one token, [SEP]
    truncation: Literal["head", "head_tail", "windows"]
    stride: Annotated[int, Field(ge=0)] | None = None  # a file without it is valid; recorded for windows only

    @model_validator(mode="after")
    def strides_windows(self):
        if self.stride is not None and self.truncation != "windows":
            raise ValueError(f"must have stride null unless truncation is windows, found {self.stride}")
        if self.stride is not None and self.stride >= self.max_length:
            raise ValueError(f"must have a stride below its max_length, found {self.stride} and {self.max_length}")
        return self

    @property
    def overlap(self) -> int | None:
        """Tokens that a window shares with the one before; None without windows."""
        if self.truncation != "windows":
            return None
        return self.max_length // 4 if self.stride is None else self.stride

    def recorded(self) -> dict:
        """The settings as a file records them: of windows with the stride that null stands for, else without one."""
        if self.truncation != "windows":
            return self.model_dump(exclude={"stride"})
        return self.model_dump() | {"stride": self.overlap}


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
    strategy: Literal["auto", "full", "lp_ft", "head", "gradual", "lora"]
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


SEARCH_RANGE = "a list of choices such as [1, 2, 3], or a range such as {low: 1.0e-5, high: 2.0e-4, log: true}"


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


class Params(Section):
    data: Data
    model: Model
    split: Split
    tokenize: Tokenize
    baseline: Baseline
    train: Train
    evaluate: Evaluate
    decide: Decide
    export: Export
    gate: Gate
    search: Search = Search()  # a file without it is valid: no stage reads it

    @model_validator(mode="after")
    def teacher_saw_no_test_row(self):
        if self.split.folds is not None and self.train.teacher is not None:
            raise ValueError(
                "must have train.teacher null with split.folds: folds test every row, and the teacher may have learnt from some"
            )
        return self

    @model_validator(mode="after")
    def teacher_reads_one_text_once(self):
        if self.train.teacher is not None and (self.tokenize.truncation == "windows" or len(self.data.columns) > 1):
            found = "tokenize.truncation: windows" if len(self.data.columns) == 1 else "several columns in data.text"
            raise ValueError(f"must have train.teacher null, or one column of texts without windows, found {found}")
        return self


def read_params(*sections: str, path: Path = PARAMS):
    """The named sections of the parameters, in the given order; a single one without a tuple. A name may be dotted.

    Raises UserError if anything in the file is wrong, in other sections too.
    """
    params = check_params(parse_yaml(path), source=str(path))
    values = tuple(attrgetter(section)(params) for section in sections)
    return values[0] if len(values) == 1 else values


def check_named_labels(label_names: list[str], path: Path = PARAMS):
    """Raises UserError if a setting names labels that the data do not have.

    `download` calls it as soon as it knows the labels. These settings belong to later stages, which would fail minutes later;
    the whole file is read here, so that `download` need not rerun when one of them changes.
    """
    params = check_params(parse_yaml(path), source=str(path))
    if "zero_shot" not in params.baseline.skip and params.data.task == "single_label":
        check_prompts(params.baseline.zero_shot.prompts, label_names)
    check_class_weights(params.train.class_weights, label_names)
    check_decide(params.decide, label_names)
    for key in params.gate.thresholds:
        named = key.removeprefix("test.per_class.").removeprefix("folds.per_class.")
        if named != key and not any(named.startswith(f"{name}.") for name in label_names):
            raise UserError(f"gate.{key} must name one of the labels {', '.join(label_names)}")


def check_prompts(prompts: dict[str, str] | None, label_names: list[str]):
    """Raises UserError unless there is one prompt for each label, or None."""
    if prompts is not None and set(prompts) != set(label_names):
        raise UserError(
            f"baseline.zero_shot.prompts must have one prompt for each of the labels {', '.join(label_names)} "
            f"(or be null, for the label names), found {', '.join(prompts)}"
        )


def check_class_weights(weights: dict[str, float] | str | None, label_names: list[str]):
    """Raises UserError if a weight is for a label that the data do not have."""
    named = weights if isinstance(weights, dict) else {}
    if missing := [name for name in named if name not in label_names]:
        raise UserError(
            f"train.class_weights must name labels, which are {', '.join(label_names)}, found {', '.join(missing)}"
        )


def check_decide(decide: Decide, label_names: list[str]):
    """Raises UserError if a rule does not fit the labels: a threshold is for one of two, and no label may be called unsure."""
    threshold, listed = decide.threshold, ", ".join(label_names)
    if threshold is not None and len(label_names) != 2:
        raise UserError(
            f"decide.threshold is for two labels, found {len(label_names)}: {listed}; set decide.min_probability or "
            "decide.min_accuracy instead"
        )
    if threshold is not None and threshold.label not in label_names:
        raise UserError(f"decide.threshold.label must be one of the labels {listed}, found {threshold.label}")
    if decide.leaves_unsure and any(name.casefold() == UNSURE_NAME for name in label_names):
        raise UserError(
            f"decide answers {UNSURE_NAME} where it leaves a text to a person, and one of the labels {listed} has that name; "
            "rename it in data.labels"
        )


def check_params(values, source: str) -> Params:
    """Parameters from plain values; raises UserError, naming the first wrong key and counting the others."""
    if not isinstance(values, dict):
        raise UserError(f"{source} must hold sections such as train:, found {SHORT.repr(values)}")
    try:
        params = Params.model_validate(values)
        check_task(params, source)
        return params
    except ValidationError as error:
        problems = error.errors()
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(f"{source}: {explain(problems[0], values)}{more}") from None


def check_task(params: Params, source: str):
    """Raises UserError for a setting that has no meaning, or is not built, for several labels per text."""
    if params.data.task == "single_label":
        return
    data, train, decide = params.data, params.train, params.decide
    own = "each label has a threshold of its own, chosen on validation"
    refused = [
        ("data.text", len(data.columns) > 1, "one column", "several columns are for one label per text"),
        (
            "tokenize.truncation",
            params.tokenize.truncation == "windows",
            "head or head_tail",
            "windows are for one label",
        ),
        ("split.folds", params.split.folds is not None, "null", "cross-validation is for one label per text"),
        (
            "train.class_weights",
            train.class_weights is not None,
            "null",
            "weights of classes are for one label per text",
        ),
        (
            "train.strategy",
            train.strategy == "lp_ft",
            "auto, full, head, gradual or lora",
            "its head starts from one label",
        ),
        ("train.teacher", train.teacher is not None, "null", "a teacher gives one label to each text"),
        *((f"decide.{name}", value is not None, "null", own) for name, value in decide.model_dump().items()),
    ]
    for key, is_wrong, fix, why in refused:
        if is_wrong:
            value = attrgetter(key)(params)
            found = SHORT.repr(value.model_dump() if isinstance(value, BaseModel) else value)
            raise UserError(f"{source}: {key} must be {fix} with data.task: multi_label, found {found}; {why}")


def explain(problem: dict, values: dict) -> str:
    """One pydantic problem as a sentence: the key, what is allowed, what was found."""
    # pydantic adds the branch of a union and a marker for a dictionary's key; neither is a key of the file.
    path, value = [], values
    for part in problem["loc"]:
        if isinstance(value, dict) and (part in value or problem["type"] == "missing"):
            path.append(str(part))
            value = value.get(part)
    key = ".".join(path) or "the file"
    match problem["type"]:
        case "missing":
            return f"{key} is missing; add it (docs/parameters.md lists every parameter)"
        case "extra_forbidden":
            return f"{key} is not a parameter; {suggestion(path)}"
        case "value_error":
            return f"{key} {problem['ctx']['error']}"
        case "string_pattern_mismatch":
            return f"{key} must match {problem['ctx']['pattern']}, found {SHORT.repr(problem['input'])}"
    # "Input should be at least 1", "Dictionary should have at least 2 items after validation, not 1"
    message = re.sub(r"^\w+ should", "must", problem["msg"]).replace(" after validation", "")
    message = re.sub(r" or instance of \w+", "", message)  # a class of Python's means nothing to the reader of a file
    return f"{key} {message}, found {SHORT.repr(problem['input'])}"


def suggestion(path: list[str]) -> str:
    """The likely spelling of an unknown parameter, and all parameters of its section."""
    model = Params
    for part in path[:-1]:
        # The keys of gate are names of metrics, and those of search dotted names of parameters, which no schema lists.
        model = section_of(model.model_fields[part].annotation) if part in model.model_fields else Threshold
    known = list(model.model_fields)
    prefix = "".join(f"{part}." for part in path[:-1])
    close = difflib.get_close_matches(path[-1], known, n=1)
    return (
        f"did you mean {prefix}{close[0]}? " if close else ""
    ) + f"{prefix.rstrip('.') or 'the file'} takes {', '.join(known)}"


def section_of(annotation) -> type[BaseModel]:
    """The section that a type stands for, also one that may be null."""
    return next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type))


def check_local_files(folder: Path = Path("data/local")):
    """Raises UserError for a pipe, a device or a socket among the user's files: DVC reads them all, and would wait forever."""
    for path in sorted(folder.rglob("*")):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(
                f"{path} is neither a file nor a folder, and `dvc repro` would wait for it forever; put its content into a file "
                "and remove it"
            )


def check_repository(folder: Path = Path()):
    """Raises UserError for a folder in no Git repository, such as a downloaded archive: DVC refuses to run there."""
    configs = (folder / ".dvc/config", folder / ".dvc/config.local")
    without_git = any("no_scm" in config.read_text(encoding="utf-8") for config in configs if config.is_file())
    root = folder.resolve()
    if not without_git and not any((parent / ".git").exists() for parent in (root, *root.parents)):
        raise UserError(
            "this folder is in no Git repository, which DVC needs, as a downloaded archive is not; run `git init` here, and "
            "commit its files before you compare or experiment"
        )


def main():
    """Checks params.yaml, data/local/ and the repository before DVC starts, which `make repro` does first.

    DVC deletes a stage's outputs before the stage can report a mistake, and reads data/local/ before any stage runs.
    """
    read_params("data")
    check_local_files()
    check_repository()
    say("params.yaml is in order")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
