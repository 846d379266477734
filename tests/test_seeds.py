"""Several seeds: the mean and its interval computed by hand, and real DVC experiments on the tiny project."""

import json

import pytest

from finetune.evaluation.resampling import HIGHER_IS_BETTER
from finetune.results.experiments import settings_digest
from finetune.seeds import mean_and_spread


def test_the_interval_of_the_mean_is_student_s():
    """0.80, 0.82 and 0.84: the squares of 0.02, 0 and 0.02, over 2, give a spread of 0.02; 4.3027 * 0.02 / √3 = 0.04968."""
    summary = mean_and_spread([0.80, 0.82, 0.84])
    assert summary["mean"] == pytest.approx(0.82)
    assert summary["spread"] == pytest.approx(0.02)
    assert summary["interval"] == pytest.approx({"low": 0.77032, "high": 0.86968}, abs=1e-5)
    assert summary["values"] == [0.80, 0.82, 0.84]


def test_seeds_are_experiments_that_run_once_and_leave_the_workspace_unchanged(project):
    """The seed of params.yaml, 42, is in the run cache; only 43 is trained. The user's own file in a subfolder comes along."""
    before = project.run("git", "status", "--porcelain").stdout
    assert project.run("git", "ls-files", "data/local").stdout.split() == ["data/local/README.md"]
    first = project.run("python", "-m", "finetune.seeds", "2")
    assert first.stdout.count("Running stage 'train'") == 1
    assert "Running stage 'export'" not in first.stdout
    seeds = json.loads(project.read("metrics/seeds.json"))
    test = json.loads(project.read("metrics/test.json"))
    assert seeds["seeds"] == [42, 43]
    assert seeds["rows"] == test["rows"]
    assert seeds["settings"] == settings_digest(project.params())
    assert set(seeds) == {"settings", "rows", "seeds", *HIGHER_IS_BETTER}
    assert {name: seeds[name]["values"][0] for name in HIGHER_IS_BETTER} == {
        name: test[name] for name in HIGHER_IS_BETTER
    }
    # Both learn these reviews, and so only the losses of the training tell the two runs apart.
    [experiment] = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps/*/*/seed-43-*").stdout.split()
    trained = json.loads(project.run("git", "show", f"{experiment}:metrics/train.json").stdout)
    assert trained["validation"]["loss"] != json.loads(project.read("metrics/train.json"))["validation"]["loss"]
    assert project.run("git", "status", "--porcelain").stdout == before + "?? metrics/seeds.json\n"

    (project.folder / "metrics/seeds.json").unlink()
    again = project.run("python", "-m", "finetune.seeds", "2")
    assert "Running stage" not in again.stdout + again.stderr
    assert json.loads(project.read("metrics/seeds.json")) == seeds
    assert "accuracy" in project.dvc("metrics", "show").stdout  # DVC does not read seeds.json as metrics


def test_one_seed_has_no_spread(project):
    failed = project.run("python", "-m", "finetune.seeds", "1", check=False)
    assert failed.returncode == 1
    assert failed.stderr == "error: one run has no spread; the number of seeds must be at least 2, found 1\n"
    failed = project.run("python", "-m", "finetune.seeds", "99999999999", check=False)
    expected = "error: the number of seeds must be at most 1,000, found 99999999999; each is a training\n"
    assert (failed.returncode, failed.stderr) == (1, expected)
