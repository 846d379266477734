"""Difference or noise: worked by hand, simulated, and with real small models."""

import math
import random

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

from finetune.base.errors import UserError
from finetune.evaluation.resampling import HIGHER_IS_BETTER, scores
from finetune.gate.noise import bound, changed_params, interval, metric_differences, score_variance
from finetune.results.experiments import settings_digest
from finetune.results.revisions import Revision
from tests.support.project import PARAMS, Project
from tests.support.tiny import reviews, write_table

TEST = {"accuracy": 0.8, "rows": 100, "interval": {"low": 0.72, "high": 0.88}}


class Given:
    """A revision whose content is given."""

    why_no_predictions = "none were given"

    def __init__(self, test: dict, predictions: pa.Table | None = None, params: dict | None = None, **files: dict):
        self.files, self.table, self.values = {"test": test, **files}, predictions, params or {}

    def metrics(self) -> dict:
        return self.files

    def params(self) -> dict:
        return self.values

    def predictions(self) -> pa.Table | None:
        return self.table


def predictions(rows: list[int], labels: list[int], logits: np.ndarray) -> pa.Table:
    """Predictions as the stage `evaluate` writes them."""
    return pa.table({"row": rows, "label": labels, "predicted": logits.argmax(1), "logits": pa.array(list(logits))})


def test_the_variances_of_rows_and_of_two_training_runs_add():
    """√(0.0003 + 2 * 0.01²) = 0.02236, times 1.960 = 0.04383."""
    assert interval(-0.05, 0.0003, 0.01, math.inf) == pytest.approx((-0.09383, -0.00617), abs=1e-5)
    assert interval(0.1, 0.0, 0.0, math.inf) == (0.1, 0.1)


def test_a_spread_of_few_seeds_is_uncertain_itself():
    """Three seeds have 2 degrees of freedom: t = 4.303, times √2 * 0.01. With as much variance from rows, they have 8: t = 2.306."""
    assert interval(0.0, 0.0, 0.01, 2)[1] == pytest.approx(4.3027 * 0.0141421, abs=1e-5)
    assert interval(0.0, 0.0002, 0.01, 2)[1] == pytest.approx(2.3060 * 0.02, abs=1e-5)


def test_without_predictions_the_interval_in_git_gives_the_variance():
    """0.08 / 1.96 = 0.0408 on each side."""
    assert score_variance("accuracy", TEST) == pytest.approx(0.040816**2, abs=1e-6)
    newer = TEST | {"f1": 0.7, "intervals": {"f1": {"low": 0.602, "high": 0.798}}}
    assert score_variance("f1", newer) == pytest.approx(0.05**2, abs=1e-6)


@pytest.mark.parametrize(
    ("metric", "rows", "share"),
    [
        ("brier", 96, (0.25 * 96 + 2) / 100),  # a mean over 96 rows
        ("recall", 40, (0.5 * 40 + 2) / 44),  # two classes, 20 rows in the smaller one
        ("roc_auc", 20, (0.9 * 20 + 2) / 24),
        ("ece", 96, (0.75 * 96 + 2) / 100),  # made of shares that are right
    ],
)
def test_without_an_interval_the_score_and_its_rows_bound_the_variance(metric, rows, share):
    test = {"accuracy": 0.75, "brier": 0.25, "recall": 0.5, "roc_auc": 0.9, "ece": 0.02, "rows": 96}
    test["per_class"] = {"bad": {"rows": 20}, "good": {"rows": 76}}
    assert bound(metric, test) == pytest.approx(share * (1 - share) / rows)


def test_a_score_without_a_row_count_is_refused():
    with pytest.raises(UserError, match="must be a number of at least 1, found None"):
        metric_differences(Given({"f1": 0.8}), Given({"f1": 0.7}))


def test_each_metric_is_judged_in_its_own_direction():
    """A fall or rise of 0.3 on 1000 rows exceeds the noise of at most 0.05; one of 0.01 does not."""
    old = {"accuracy": 0.6, "f1": 0.6, "log_loss": 0.6, "ece": 0.4, "recall": 0.5, "brier": float("nan"), "rows": 1000}
    new = {"accuracy": 0.9, "f1": 0.3, "log_loss": 0.9, "ece": 0.1, "recall": 0.51, "brier": 0.2, "rows": 1000}
    old |= {"roc_auc": 0.9}
    new |= {"roc_auc": float("nan"), "precision": 0.7}
    found = {difference.metric: difference for difference in metric_differences(Given(old), Given(new))}
    assert {name: difference.verdict for name, difference in found.items()} == {
        "accuracy": "better",
        "f1": "worse",
        "log_loss": "worse",
        "ece": "better",
        "recall": "within noise",
        "brier": "new",  # there was no number to compare with
        "precision": "new",
        "roc_auc": "not a number",
    }
    assert found["accuracy"].how == "intervals in Git"
    del new["f1"]
    assert {difference.metric: difference.verdict for difference in metric_differences(Given(old), Given(new))}[
        "f1"
    ] == "missing"


def test_the_scores_of_one_resample_are_those_of_scikit_learn():
    """Ten rows of three classes, drawn 0 to 3 times each, against the same rows written out; two have equal scores."""
    chance = np.random.default_rng(0)
    shares = chance.dirichlet(np.ones(3), 10)
    shares[1] = shares[0]
    labels, times = np.array([0, 1, 2, 0, 1, 2, 0, 1, 2, 2]), np.array([1, 2, 1, 3, 0, 1, 1, 0, 1, 0])
    drawn = np.repeat(np.arange(10), times)
    found = {name: value[0] for name, value in scores(labels, shares, times[None].astype(float), bin_count=5).items()}
    truth, guess = labels[drawn], shares[drawn].argmax(1)
    options = {"average": "macro", "zero_division": 0, "labels": [0, 1, 2]}
    assert found["accuracy"] == pytest.approx((truth == guess).mean())
    assert found["precision"] == pytest.approx(precision_score(truth, guess, **options))
    assert found["recall"] == pytest.approx(recall_score(truth, guess, **options))
    assert found["f1"] == pytest.approx(f1_score(truth, guess, **options))
    areas = [roc_auc_score(truth == label, shares[drawn, label]) for label in range(3)]
    assert found["roc_auc"] == pytest.approx(np.mean(areas))
    assert found["log_loss"] == pytest.approx(-np.log(shares[drawn, truth]).mean())


def test_rows_are_paired_by_their_id_and_only_where_ids_and_labels_agree():
    right, wrong = [3.0, 0.0], [0.0, 3.0]
    base = predictions([1, 2, 3, 4], [0, 0, 0, 1], np.array([right, right, right, right]))
    head = predictions([4, 3, 2, 1], [1, 0, 0, 0], np.array([wrong, right, right, wrong]))
    test = TEST | {"accuracy": 0.5}
    accuracy = metric_differences(Given(test, base), Given(test, head))[0]
    assert (accuracy.base, accuracy.head, accuracy.how) == (0.75, 0.75, "paired on 4 rows")
    other_label = predictions([4, 3, 2, 1], [0, 0, 0, 0], np.array([wrong, right, right, wrong]))
    other_row = predictions([9, 3, 2, 1], [1, 0, 0, 0], np.array([wrong, right, right, wrong]))
    for unpaired in (other_label, other_row, head.slice(0, 3)):
        assert metric_differences(Given(test, base), Given(test, unpaired))[0].how == "intervals in Git"


@pytest.mark.parametrize("measured", [False, True])
def test_sixty_rows_that_both_get_right_do_not_prove_that_they_are_equal(measured):
    """Wilson's interval of 60 of 60 begins at 0.9398, so Newcombe's of the difference is ±0.0602.

    With 1.96 * √2 * 0.01 between seeds: 0.0663.
    """
    labels = [0, 1] * 30
    logits = np.array([[6.0, -6.0], [-6.0, 6.0]] * 30)
    test = {"accuracy": 1.0, "rows": 60, "precision": 1.0, "recall": 1.0, "f1": 1.0, "roc_auc": 1.0}
    seeds = {"seeds": {"settings": settings_digest({}), "accuracy": {"spread": 0.0, "values": [1.0, 1.0]}}}
    sides = [
        Given(test, predictions(list(range(60)), labels, logits * scale), **seeds if measured else {})
        for scale in (1, 2)
    ]
    for difference in metric_differences(*sides):
        assert difference.verdict == "within noise"
        assert difference.how == "paired on 60 rows"
        if difference.metric in ("accuracy", "precision", "recall", "f1"):
            assert (difference.low, difference.high) == (
                pytest.approx(-0.0663, abs=2e-4),
                pytest.approx(0.0663, abs=2e-4),
            )
        assert difference.high > difference.low


def test_without_predictions_sixty_rows_that_are_right_leave_doubt_too():
    """Two successes and two failures more: 62 of 64 right, variance 0.96875 * 0.03125 / 60 = 0.000505 for each side."""
    test = {"accuracy": 1.0, "rows": 60, "interval": {"low": 1.0, "high": 1.0}}
    difference = metric_differences(Given(test), Given(test))[0]
    assert difference.high == pytest.approx(1.96 * math.sqrt(2 * 0.000505 + 2 * 0.01**2), abs=1e-4)


def test_a_measured_spread_counts_where_it_was_measured_with_these_settings():
    params = {"train": {"lr": 1.0, "seed": 42}, "gate": {}}
    seeds = {"settings": settings_digest(params), "accuracy": {"spread": 0.2, "values": [0.6, 0.8]}}
    assert settings_digest({"train": {"lr": 1.0, "seed": 7}, "gate": {"min_gain": 0.1}}) == seeds["settings"]
    test = TEST | {"rows": 100_000, "interval": {"low": 0.7999, "high": 0.8001}}
    better = test | {"accuracy": 0.9}

    def verdict(base: Given, head: Given) -> str:
        return metric_differences(base, head)[0].verdict

    other = {"train": {"lr": 2.0, "seed": 42}}
    assert verdict(Given(test, params=params), Given(better, params=params)) == "better"
    assert verdict(Given(test, params=params), Given(better, params=params, seeds=seeds)) == "within noise"
    assert verdict(Given(test, params=params, seeds=seeds), Given(better, params=other)) == "within noise"
    assert verdict(Given(test, params=other, seeds=seeds), Given(better, params=other, seeds=seeds)) == "better"


def simulated(chance: np.random.Generator, hard: np.ndarray, skill: float, luck: float) -> pa.Table:
    """Predictions of a training run: rows have their own difficulty, the run a skill and luck over runs and rows."""
    margin = skill + chance.normal(0, luck) + hard + chance.normal(0, 0.5, len(hard))
    rows = np.arange(len(hard))
    return predictions(rows.tolist(), [0] * len(hard), np.column_stack([margin, np.zeros(len(hard))]))


def test_equal_trainings_are_rarely_called_worse_and_worse_ones_nearly_always():
    """40 pairs of runs whose accuracies spread by about a point, and 10 with a skill lower by one standard deviation of rows."""
    chance = np.random.default_rng(0)
    alarms = caught = 0
    for pair in range(50):
        hard = chance.normal(0, 1, 300)
        base = simulated(chance, hard, 1.0, 0.04)
        head = simulated(chance, hard, 1.0 if pair < 40 else 0.0, 0.04)
        test = {"accuracy": 0.8, "rows": 300}
        worse = metric_differences(Given(test, base), Given(test, head))[0].verdict == "worse"
        alarms, caught = alarms + (worse and pair < 40), caught + (worse and pair >= 40)
    assert alarms <= 2  # one in 20
    assert caught == 10


def test_parameters_that_differ_are_found_with_both_values():
    old = {"train": {"lr": 1e-4, "lora": {"rank": 8}}, "gate": {"test.accuracy": {"min": 0.8}}}
    new = {"train": {"lr": 3e-4, "lora": {"rank": 8}, "epochs": 2}, "gate": {}}
    assert changed_params(Given({}, params=old), Given({}, params=new)) == [
        ("train.lr", 1e-4, 3e-4),
        ("train.epochs", "-", 2),
        ("gate", "-", {}),
        ("gate.test.accuracy.min", 0.8, "-"),
    ]


@pytest.fixture
def trained(tmp_path, monkeypatch) -> Project:
    """A project with noisy reviews after a run, committed; the current folder."""
    project, chance = Project.create(tmp_path / "project"), random.Random(1)
    monkeypatch.chdir(project.folder)
    rows = reviews(500)
    for row in rows:
        if chance.random() < 0.15:
            row["label"] = {"good": "bad", "bad": "good"}[row["label"]]
    write_table(project.folder / "data/local/reviews.csv", rows)
    train = PARAMS["train"] | {"epochs": 8, "batch_size": 16}
    project.write_params(PARAMS | {"train": train, "split": PARAMS["split"] | {"validation": 0.1, "test": 0.3}})
    project.run_here("download", "tokenize", "baseline_eval", "teach", "train", "evaluate")
    project.dvc("commit", "--force", "train", "evaluate")
    project.commit("Train")
    return project


def test_a_worse_model_fails_the_gate_and_another_seed_passes(trained):
    project, base = trained, Revision("HEAD")
    for seed in (1, 2):
        project.set_param("train.seed", seed)
        project.run_here("train", "evaluate")
        found = metric_differences(base, Revision())
        assert {difference.metric: difference.verdict for difference in found} == dict.fromkeys(
            HIGHER_IS_BETTER, "within noise"
        )
        assert {difference.how for difference in found} == {"paired on 155 rows"}
        assert any(difference.base != difference.head for difference in found)

    project.run("git", "restore", "params.yaml")
    project.set_param("split.train_rows", 80)
    project.run_here("tokenize", "train", "evaluate")
    stopped = project.run("python", "-m", "finetune.gate", "--against", "main", check=False)
    assert stopped.returncode == 1, stopped.stderr
    table = [line.split() for line in stopped.stdout.splitlines()]
    assert [line[-1] for line in table if line[:1] == ["accuracy"]] == ["worse"]
    assert ["split.train_rows", "null", "80"] in table
    assert "Compared: paired on 155 rows." in stopped.stdout
