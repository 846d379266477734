"""The search space: what params.yaml may hold, the refusals in one line, and the values of trials."""

import pytest

from finetune.base.errors import UserError
from finetune.base.params import check_params
from finetune.base.yaml_file import parse_yaml
from finetune.search.space import changed, check_space, start_values, suggested
from tests.conftest import ROOT
from tests.support.project import PARAMS

LR = {"low": 1e-5, "high": 1e-2, "log": True}


def searched(**ranges) -> dict:
    """The tiny project's parameters with this search."""
    return PARAMS | {"search": ranges}


class Answers:
    """Stands for a trial of Optuna: gives these values, and keeps what it was asked for."""

    def __init__(self, values: dict):
        self.values, self.asked = values, {}

    def suggest(self, kind: str, name: str, limits):
        self.asked[name] = kind, limits
        return self.values[name]

    def suggest_categorical(self, name: str, choices: list):
        return self.suggest("categorical", name, choices)

    def suggest_float(self, name: str, **limits):
        return self.suggest("float", name, limits)

    def suggest_int(self, name: str, **limits):
        return self.suggest("int", name, limits)


def test_the_ranges_are_those_of_params_yaml():
    ranges = {"train.lr": LR, "train.epochs": [1, 3], "tokenize.max_length": {"low": 16, "high": 32, "step": 16}}
    assert check_space(searched(metric="validation.loss", seeds=0, **ranges)) == ranges


def test_the_default_parameters_hold_a_valid_space_with_the_defaults_in_it():
    values = parse_yaml(ROOT / "docs/default_run/params.yaml")
    start = start_values(check_params(values, "test"), check_space(values), rows=10_196, labels=2)
    assert start["train.lr"] == 1e-4
    assert start["train.epochs"] == 2
    assert start["train.batch_size"] == 32


FORM = "must be a list of choices such as [1, 2, 3], or a range such as {low: 1.0e-5, high: 2.0e-4, log: true}, found"
WRONG_FORM = {
    "a number": (3, f"{FORM} 3"),
    "only one end": ({"low": 1}, f"{FORM} {{'low': 1}}"),
    "an unknown key": ({"low": 1, "high": 2, "base": 2}, f"{FORM} {{'base': 2, 'high': 2, 'low': 1}}"),
    "one choice": ([1], "must list at least two different plain values, found [1]"),
    "a choice twice": ([1, 2, 1], "must list at least two different plain values, found [1, 2, 1]"),
    "a list as a choice": ([[1], 2], "must list at least two different plain values, found [[1], 2]"),
    "a text as an end": (
        {"low": "1", "high": 2},
        "must have numbers for low, high and step, found {'high': 2, 'low': '1'}",
    ),
    "ends exchanged": ({"low": 2, "high": 1}, "must have a low below its high, found {'high': 1, 'low': 2}"),
    "log from 0": (
        {"low": 0, "high": 1, "log": True},
        "must have a low above 0 and no step with log: true, found {'high': 1, 'log': True, 'low': 0}",
    ),
    "no step": ({"low": 0, "high": 1, "step": 0}, "must have a step above 0, found 0"),
    "a number for log": ({"low": 1, "high": 2, "log": 2}, "must have true or false for log, found 2"),
}


@pytest.mark.parametrize("case", WRONG_FORM)
def test_a_range_of_another_form_is_refused_by_every_command(case):
    value, line = WRONG_FORM[case]
    with pytest.raises(UserError) as error:
        check_params(searched(**{"train.lr": value}), source="params.yaml")
    assert str(error.value) == f"params.yaml: search.train.lr {line}"


ROWS_DIFFER = "only parameters of train and tokenize may be searched, because all trials must be scored on the same validation rows of the same model"
REFUSED = {
    "split.seed": ([1, 2], f"search.split.seed: {ROWS_DIFFER}"),
    "split.validation": ([0.1, 0.2], f"search.split.validation: {ROWS_DIFFER}"),
    "data.uri": (["a", "b"], f"search.data.uri: {ROWS_DIFFER}"),
    "model.uri": (["a", "b"], f"search.model.uri: {ROWS_DIFFER}"),
    "gate.min_gain": (
        [0.1, 0.2],
        "search.gate.min_gain: only parameters of train and tokenize may be searched; gate changes no score on validation",
    ),
    "evaluate.bins": (
        [10, 20],
        "search.evaluate.bins: only parameters of train and tokenize may be searched; evaluate changes no score on validation",
    ),
    "train.seed": (
        [1, 2],
        "search.train.seed: the best of several seeds is luck, not a setting; search.seeds shows how far seeds differ",
    ),
    "train.lr": (
        {"low": 0.1, "high": 2.0},
        "params.yaml: search.train.lr holds 2.0: train.lr must be less than or equal to 1, found 2.0",
    ),
    "train.epochs": (
        {"low": 0.5, "high": 2.0},
        "params.yaml: search.train.epochs holds 0.5: train.epochs must be a valid integer, found 0.5",
    ),
    "train.strategy": (
        ["full", "fulll"],
        "params.yaml: search.train.strategy holds 'fulll': train.strategy must be 'auto', 'full', 'lp_ft', 'contrastive', 'head', 'gradual' or 'lora', found 'fulll'",
    ),
    "train.lrr": (
        [1, 2],
        "params.yaml: search.train.lrr holds 1: train.lrr is not a parameter; did you mean train.lr? train takes engine, ",
    ),
    "lr": ([1, 2], "params.yaml: search.lr holds 1: lr is not a parameter; the file takes data, model, split, "),
    "train.lr.x": ([1, 2], "params.yaml: search.train.lr.x is not a parameter; lr has no parameters of its own"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_searched_is_refused_in_one_line(name):
    value, line = REFUSED[name]
    with pytest.raises(UserError) as error:
        check_space(searched(**{name: value}))
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


def test_an_empty_space_is_refused_with_an_example():
    with pytest.raises(UserError, match=r"search names no parameter; add some, such as train.lr: \{low: 3.0e-5"):
        check_space(PARAMS)


@pytest.mark.parametrize("search", [{"seeds": 1}, {"metric": "test.accuracy"}])
def test_a_test_metric_and_a_single_seed_are_refused(search):
    name = next(iter(search))
    with pytest.raises(UserError, match=rf"^params.yaml: search.{name} must be .*found"):
        check_params(PARAMS | {"search": search}, source="params.yaml")


def test_the_defaults_must_lie_in_the_space():
    """The tiny project's rate is 0.003, its dropout null."""
    for ranges, line in (
        ({"train.lr": {"low": 0.01, "high": 0.1}}, "search.train.lr must include 0.003, which train.lr is without"),
        ({"train.dropout": [0.1, 0.2]}, "search.train.dropout must include None, which train.dropout is without"),
        ({"train.epochs": {"low": 2, "high": 8, "step": 2}}, "search.train.epochs must include 3, which train.epochs"),
    ):
        values = searched(**ranges)
        with pytest.raises(UserError, match=line):
            start_values(check_params(values, "test"), check_space(values), rows=92, labels=2)


def test_a_null_starts_from_what_it_stands_for():
    """`auto` is `lp_ft` with 92 rows of two labels, whose rate is 5e-5; with several labels per text it is `full`."""
    values = changed(searched(**{"train.lr": LR}), {"train.strategy": "auto", "train.lr": None})
    assert start_values(check_params(values, "test"), check_space(values), rows=92, labels=2) == {"train.lr": 5e-5}
    several = changed(values, {"data.task": "multi_label", "data.separator": ";"})
    assert start_values(check_params(several, "test"), check_space(several), rows=92, labels=2) == {"train.lr": 1e-4}


def test_values_are_short_stay_in_their_range_and_are_whole_where_the_parameter_is():
    """Three digits of 0.00012345 are 0.000123; of 0.99999 they would be 1.0, above the range's end."""
    ranges = {
        "train.lr": LR,
        "train.epochs": {"low": 1, "high": 4},
        "train.layer_decay": {"low": 0.8, "high": 0.99999},
        "train.dropout": [None, 0.1],
        "train.warmup": {"low": 0.0, "high": 0.3, "step": 0.1},
    }
    trial = Answers(
        {"train.lr": 0.00012345, "train.epochs": 2, "train.layer_decay": 0.99999}
        | {"train.dropout": None, "train.warmup": 0.1 + 0.2}
    )
    assert suggested(trial, searched(**ranges), ranges) == {
        "train.lr": 0.000123,
        "train.epochs": 2,
        "train.layer_decay": 0.99999,
        "train.dropout": None,
        "train.warmup": 0.1 + 0.2,
    }
    kinds = {name: kind for name, (kind, _) in trial.asked.items()}
    assert kinds == {
        "train.lr": "float",
        "train.epochs": "int",
        "train.layer_decay": "float",
        "train.dropout": "categorical",
        "train.warmup": "float",
    }


def test_nested_parameters_are_set_without_changing_the_original():
    values = {"train": {"lora": {"rank": 8}, "lr": 1}}
    assert changed(values, {"train.lora.rank": 4}) == {"train": {"lora": {"rank": 4}, "lr": 1}}
    assert values == {"train": {"lora": {"rank": 8}, "lr": 1}}
