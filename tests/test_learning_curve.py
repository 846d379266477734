"""The learning curve through real DVC experiments on the tiny project."""

import csv

import pytest

from finetune.learning_curve import sizes
from finetune.results.experiments import settings_digest


def test_the_sizes_are_all_fixed_ones_below_the_number_of_rows_and_the_number_itself():
    assert sizes(10_196) == [64, 250, 500, 1000, 2000, 4000, None]
    assert sizes(900) == [64, 250, 500, None]
    assert sizes(64) == [None]


@pytest.fixture
def small_sizes(project):
    """The project with a size below its 92 rows."""
    path = project.folder / "finetune/learning_curve.py"
    path.write_text(path.read_text().replace("SIZES = (64, 250, 500, 1000, 2000, 4000)", "SIZES = (24,)"))
    project.commit("Smaller sizes")
    return project


def test_each_size_is_an_experiment_that_runs_once_and_leaves_the_workspace_unchanged(small_sizes):
    pytest.importorskip("altair")
    before = small_sizes.read("params.yaml"), small_sizes.read("dvc.lock")
    small_sizes.run("python", "-m", "finetune.learning_curve")
    rows = list(csv.DictReader(small_sizes.read("metrics/learning_curve.csv").splitlines()))
    assert [(int(row["rows"]), row["classifier"]) for row in rows] == [
        (size, name) for size in (24, 92) for name in ("fine-tuned", "best baseline")
    ]
    assert all(float(row["low"]) <= float(row["accuracy"]) <= float(row["high"]) for row in rows)
    assert {row["settings"] for row in rows} == {settings_digest(small_sizes.params())}
    assert "<svg" in small_sizes.read("metrics/learning_curve.svg")
    assert (small_sizes.read("params.yaml"), small_sizes.read("dvc.lock")) == before

    curve = small_sizes.read("metrics/learning_curve.csv")
    again = small_sizes.run("python", "-m", "finetune.learning_curve")
    assert "Running stage" not in again.stdout + again.stderr
    assert small_sizes.read("metrics/learning_curve.csv") == curve


def test_a_learning_curve_of_a_subset_is_refused(project):
    project.set_param("split.train_rows", 50)
    failed = project.run("python", "-m", "finetune.learning_curve", check=False)
    assert failed.returncode == 1
    assert "error: split.train_rows must be null for a learning curve, found 50" in failed.stderr
