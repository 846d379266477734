"""The search space in params.yaml: which parameters may be searched, their limits, and their values in each trial."""

import copy
from operator import attrgetter

from finetune.base.errors import UserError
from finetune.base.params import PARAMS, Params, check_params
from finetune.training.settings import resolved

SEARCHED = ("train", "tokenize")  # sections whose parameters leave the rows and labels of validation as they are
SEED = "train.seed"
DIGITS = 3  # significant ones of a number that a trial uses: enough for any setting, and readable


def check_space(values: dict) -> dict[str, list | dict]:
    """Choices and ranges by dotted name, from the plain values of params.yaml.

    Raises UserError for a parameter that may not be searched, and for a value that it does not take.
    """
    ranges = check_params(values, source=str(PARAMS)).search.ranges
    if not ranges:
        raise UserError(
            f"{PARAMS}: search names no parameter; add some, such as train.lr: {{low: 3.0e-5, high: 3.0e-4, log: true}}"
        )
    for name, allowed in ranges.items():
        check_name(name)
        ends = allowed if isinstance(allowed, list) else [allowed["low"], allowed["high"]]
        for value in ends:
            check_params(changed(values, {name: value}), source=f"{PARAMS}: search.{name} holds {value!r}")
    return ranges


def check_name(name: str):
    """Raises UserError for a parameter whose trials could not be compared, or compared only in noise."""
    section = name.partition(".")[0]
    if name == SEED:
        raise UserError(
            f"search.{name}: the best of several seeds is luck, not a setting; search.seeds shows how far seeds differ"
        )
    if section not in SEARCHED and section in Params.model_fields:
        raise UserError(
            f"search.{name}: only parameters of {' and '.join(SEARCHED)} may be searched, because all trials must be scored on "
            "the same validation rows of the same model"
            if section in ("data", "model", "split")
            else f"search.{name}: only parameters of {' and '.join(SEARCHED)} may be searched; {section} changes no score on validation"
        )


def changed(values: dict, settings: dict) -> dict:
    """A copy of the parameters with these dotted names set: {"train": {"lr": 1}}, {"train.lr": 2} -> {"train": {"lr": 2}}."""
    values = copy.deepcopy(values)
    for name, value in settings.items():
        *path, last = name.split(".")
        section = values
        for part in path:
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise UserError(f"{PARAMS}: search.{name} is not a parameter; {part} has no parameters of its own")
        section[last] = value
    return values


def takes_fractions(values: dict, name: str, allowed: dict) -> bool:
    """Whether a parameter takes other numbers than whole ones, by the limits in params.py."""
    try:
        check_params(changed(values, {name: (allowed["low"] + allowed["high"]) / 2 + 1 / 64}), source=name)
    except UserError:
        return False
    return True


def start_values(params: Params, ranges: dict[str, list | dict], rows: int, labels: int) -> dict:
    """Values of the searched parameters in params.yaml, a null being what it stands for with so many training rows and labels.

    Raises UserError if the space lacks one of them: the search starts from them, and its proposal compares with them.
    """
    several = params.data.task == "multi_label"
    settled = params.model_copy(update={"train": resolved(params.train, rows, labels, several)[0]})
    values = {name: attrgetter(name)(settled) for name in ranges}
    for name, value in values.items():
        allowed = ranges[name]
        known = value in allowed if isinstance(allowed, list) else within(allowed, value)
        if not known:
            raise UserError(
                f"{PARAMS}: search.{name} must include {value!r}, which {name} is without the search, found {allowed}"
            )
    return values


def within(allowed: dict, value) -> bool:
    """Whether a value lies in a range and on its steps."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not allowed["low"] <= value <= allowed["high"]:
        return False
    steps = (value - allowed["low"]) / allowed["step"] if "step" in allowed else 0
    return abs(steps - round(steps)) < 1e-6


def suggested(trial, values: dict, ranges: dict[str, list | dict]) -> dict:
    """Values of an Optuna trial by dotted name, as they are used: fractions have three significant digits."""
    settings = {}
    for name, allowed in ranges.items():
        if isinstance(allowed, list):
            settings[name] = trial.suggest_categorical(name, allowed)
        elif takes_fractions(values, name, allowed):
            value = trial.suggest_float(name, **allowed)
            short = float(f"{value:.{DIGITS}g}")
            settings[name] = value if "step" in allowed else min(max(short, allowed["low"]), allowed["high"])
        else:
            settings[name] = trial.suggest_int(name, **allowed)
    return settings
