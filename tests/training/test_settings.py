"""What a null in `train` stands for, the strategy that `auto` takes, and the line about a training that learnt nothing."""

import numpy as np
import pytest

from finetune.base.params_training import Train
from finetune.training.settings import MEASURED, majority_warning, resolved
from finetune.training.strategies import STRATEGIES
from finetune.training.task import OneLabel
from tests.support.project import PARAMS

NULLS = {"lr": None, "epochs": None, "min_steps": None, "batch_size": None}


def settings(**changes) -> Train:
    return Train(**PARAMS["train"] | changes)


@pytest.mark.parametrize(
    ("rows", "labels", "teacher", "strategy", "why"),
    [
        (149, 2, None, "lp_ft", "fewer than 150 training rows"),
        (150, 2, None, "contrastive", "150 to 2,999 training rows of two labels"),
        (2_999, 2, None, "contrastive", "150 to 2,999 training rows of two labels"),
        (3_000, 2, None, "full", "3,000 training rows or more"),
        (999, 3, None, "lp_ft", "fewer than 1,000 training rows"),
        (1_000, 3, None, "full", "1,000 training rows or more"),
        (999, 2, "data/local/teacher", "lp_ft", "fewer than 1,000 training rows"),
        (1_000, 2, "data/local/teacher", "full", "1,000 training rows or more"),
    ],
)
def test_auto_takes_the_strategy_that_measured_best_for_the_numbers_of_rows_and_labels(
    rows, labels, teacher, strategy, why
):
    """`contrastive` takes no teacher."""
    run, reason = resolved(settings(strategy="auto", teacher=teacher, **NULLS), rows, labels)
    assert run.strategy == strategy
    assert reason == f"auto: measured best for {why}, found {rows:,}"
    assert (
        resolved(settings(strategy="auto", teacher=teacher, **NULLS), rows, labels, several=True)[0].strategy == "full"
    )


def test_the_default_run_trains_as_before_there_was_auto():
    """10,196 rows in batches of 32 are 319 steps an epoch, 638 in two: not fewer than the least number."""
    run, _ = resolved(settings(strategy="auto", **NULLS), 10_196, 2)
    assert (run.strategy, run.lr, run.epochs, run.batch_size) == ("full", 1e-4, 2, 32)
    assert run.min_steps <= 638


@pytest.mark.parametrize("strategy", list(MEASURED))
def test_a_null_takes_what_measured_best_for_the_strategy_and_a_number_stays(strategy):
    best = MEASURED[strategy]
    run, why = resolved(settings(strategy=strategy, **NULLS), 10_000, 2)
    assert (run.lr, run.epochs, run.batch_size, run.min_steps) == (
        best.lr,
        best.epochs,
        best.batch_size,
        best.min_steps,
    )
    assert why == "set in params.yaml"
    kept, _ = resolved(settings(strategy=strategy, **NULLS | {"lr": 0.5, "epochs": 7}), 10_000, 2)
    assert (kept.lr, kept.epochs, kept.batch_size) == (0.5, 7, best.batch_size)


def test_every_strategy_has_measured_settings():
    strategies = set(Train.model_fields["strategy"].annotation.__args__)
    assert set(MEASURED) == set(STRATEGIES) == strategies - {"auto"}


def test_a_batch_size_that_is_null_is_at_most_the_number_of_rows():
    assert resolved(settings(strategy="head", **NULLS), 100, 2)[0].batch_size == 100


def test_the_majority_is_that_of_train_and_its_share_that_of_validation():
    """Train has label 1 most often; one of four validation rows has it."""
    assert OneLabel().majority(np.array([0, 1, 1]), np.array([0, 0, 0, 1]))["accuracy"] == 0.25


@pytest.mark.parametrize(
    ("changes", "steps", "why"),
    [
        ({"strategy": "head", "lr": 1e-4}, 800, "train.lr 0.0001 is low for head, for which 0.003 measured best"),
        ({"strategy": "full", "lr": 0.01}, 800, "train.lr 0.01 is high for full, for which 0.0001 measured best"),
        ({"strategy": "full", "lr": 1e-4}, 16, "16 steps are few, "),
        ({"strategy": "full", "lr": 1e-4}, 800, "the texts may not tell the labels apart"),
    ],
)
def test_a_training_no_better_than_the_majority_names_the_likely_reason(changes, steps, why):
    scores = {"accuracy": 0.58, "f1": 0.5}
    warning = majority_warning(settings(**changes), steps, scores, majority={"accuracy": 0.58, "f1": 0.37})
    assert warning.startswith("the model learnt nothing: its validation accuracy is 0.580")
    assert why in warning
    assert "\n" not in warning
    better = {"accuracy": 0.581, "f1": 0.3}
    assert majority_warning(settings(**changes), steps, better, majority={"accuracy": 0.58, "f1": 0.37}) is None


def test_a_training_with_weighted_classes_is_judged_by_its_macro_f1():
    """Weighted, it may be right less often than the majority and still find the rare label."""
    weighted, majority = settings(class_weights="balanced", lr=1e-4), {"accuracy": 0.95, "f1": 0.487}
    assert majority_warning(weighted, 800, {"accuracy": 0.9, "f1": 0.7}, majority) is None
    warning = majority_warning(weighted, 800, {"accuracy": 0.95, "f1": 0.487}, majority)
    assert "its validation macro F1 is 0.487, and always answering the most frequent label scores 0.487" in warning
    assert "class_weights" not in warning
    plain = majority_warning(settings(lr=1e-4), 800, {"accuracy": 0.95, "f1": 0.487}, majority)
    assert plain.endswith(
        "one label is much rarer than the others; train.class_weights: balanced gives rare labels more weight"
    )


def test_the_macro_f1_of_the_majority():
    """Three of four rows have the label that train has most often: precision 3/4, recall 1, F1 6/7; the other label has 0."""
    assert OneLabel().majority(np.array([0, 1, 1]), np.array([1, 1, 1, 0]))["f1"] == pytest.approx(3 / 7)
