"""`params.yaml`, typed: every key, its type and its limits.

Every stage checks the whole file, so a mistake anywhere stops the first stage that runs. A stage gets only the sections
that it names; these are the sections that `dvc.yaml` lists for it.
"""

import difflib
import re
from operator import attrgetter
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError, model_validator

from finetune.base.errors import UserError
from finetune.base.names import UNSURE_NAME
from finetune.base.param_types import SHORT
from finetune.base.params_data import Data, Model, Section, Split, Tokenize
from finetune.base.params_results import Decide, Evaluate, Export, Gate, Search, Threshold
from finetune.base.params_training import Baseline, Train
from finetune.base.yaml_file import parse_yaml

PARAMS = Path("params.yaml")


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
    """Raises UserError for what does not go with several labels per text: a rule of `decide`, and pairs of one label."""
    if params.train.strategy == "contrastive" and params.data.task == "multi_label":
        raise UserError(
            f"{source}: train.strategy must not be contrastive with data.task: multi_label, because two sets of labels may be "
            "the same in part; choose another strategy, such as full"
        )
    for name, value in params.decide.model_dump().items():
        if value is not None and params.data.task == "multi_label":
            raise UserError(
                f"{source}: decide.{name} must be null with data.task: multi_label, found {SHORT.repr(value)}; each label has a "
                "threshold of its own, chosen on validation"
            )


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
