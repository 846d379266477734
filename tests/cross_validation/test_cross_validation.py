"""Cross-validation through real DVC experiments on the tiny project."""

import csv
import json
import os
import signal
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest

from finetune.results.folds import folds_digest
from tests.support.project import OWN_FILE

COMMAND = ("python", "-m", "finetune.cross_validation")


def names(project) -> list[str]:
    """Experiments of the project."""
    return sorted(project.dvc("exp", "list", "--name-only").stdout.split())


def stopped_after_a_fold(project):
    """Runs the command until its first fold is done, then stops it as Ctrl-C does. Only what the command starts is warm."""
    command = "import runpy; runpy.run_module('finetune.cross_validation', run_name='__main__')"
    process = subprocess.Popen(
        ["python", "-u", "-c", command, "2"],
        cwd=project.folder,
        env=project.warm,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    for line in process.stdout:
        if line.startswith("fold 0: accuracy"):
            break
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0


def test_every_row_is_tested_once_and_no_fold_runs_twice(project):
    before = project.run("git", "status", "--porcelain").stdout
    stopped_after_a_fold(project)
    assert len(names(project)) == 1
    assert not (project.folder / "metrics/folds.json").exists()

    done = project.run(*COMMAND, "2")
    assert done.stdout.count("Running stage 'train'") == 1
    assert "Running stage 'export'" not in done.stdout
    folds = json.loads(project.read("metrics/folds.json"))
    assert project.run("git", "status", "--porcelain").stdout == before + "?? metrics/folds.json\n"

    # The rows of all folds are the rows that the pipeline splits: 160 less those that it drops.
    table = pq.read_table(project.folder / "data/predictions/folds.parquet")
    parts = [
        pq.read_table(project.folder / f"data/tokenized/{name}.parquet") for name in ("train", "validation", "test")
    ]
    usable = sorted(row for part in parts for row in part.column("row").to_pylist())
    assert table.column("row").to_pylist() == usable
    labels, predicted = (table.column(name).to_numpy() for name in ("label", "predicted"))
    probabilities = np.array(table.column("probabilities").to_pylist())
    assert (probabilities.argmax(1) == predicted).all()
    assert folds["accuracy"] == pytest.approx((labels == predicted).mean(), abs=1e-6)
    assert folds["rows"] == len(usable) == sum(folds["fold_rows"])
    per_fold = [(labels == predicted)[table.column("fold").to_numpy() == fold].mean() for fold in range(2)]
    assert folds["values"]["accuracy"] == pytest.approx(per_fold, abs=1e-6)
    best = np.array(table.column(folds["best"]).to_pylist()).argmax(1)
    assert folds["gain"]["value"] == pytest.approx((labels == predicted).mean() - (labels == best).mean(), abs=1e-6)
    assert folds["settings"] == folds_digest(project.params())
    # Each film is in one fold.
    films = {
        row: film
        for part in parts
        for row, film in zip(*(part.column(key).to_pylist() for key in ("row", "group")), strict=True)
    }
    assert folds["groups"] == len(set(films.values()))
    pairs = {(films[row], fold) for row, fold in zip(usable, table.column("fold").to_pylist(), strict=True)}
    assert len(pairs) == len(set(films.values()))
    listed = list(csv.DictReader(project.read("data/predictions/folds.csv").splitlines()))
    assert [int(row["row"]) for row in listed] == usable

    (project.folder / "metrics/folds.json").unlink()
    again = project.run(*COMMAND, "2")
    assert "Running stage" not in again.stdout + again.stderr
    assert json.loads(project.read("metrics/folds.json")) == folds

    # Summary and gate read it, and say so when it belongs to other settings or to other rows.
    assert (
        f"Cross-validation in 2 folds, {len(usable)} rows tested once each"
        in project.run("python", "-m", "finetune.summary").stdout
    )
    project.set_param("gate", {"folds.accuracy": {"min": 0.0}, "folds.gain.low": {"min": -1.0}})
    assert project.run("python", "-m", "finetune.gate").stdout.count(" holds\n") == 2
    project.set_param("train.lr", 0.002)
    gate = project.run("python", "-m", "finetune.gate", check=False)
    assert gate.returncode == 2
    assert "metrics/folds.json belongs to other settings; `make folds` runs these" in gate.stdout
    project.set_param("train.lr", 0.003)
    reviews = project.folder / OWN_FILE
    reviews.write_text(reviews.read_text().replace(",bad,", ",good,", 1))
    project.dvc("repro", "download")
    gate = project.run("python", "-m", "finetune.gate", check=False)
    assert gate.returncode == 2
    assert "metrics/folds.json is about other rows than the last run; `make folds` runs these" in gate.stdout


@pytest.mark.parametrize(
    ("count", "changes", "line"),
    [
        ("1", {}, "params.yaml, for 1 folds: split.folds must be greater than or equal to 2, found 1"),
        ("3", {"split.test_rows": 9}, "params.yaml, for 3 folds: split must have test_rows null with folds"),
        ("3", {"split.validation": 0.7}, "params.yaml, for 3 folds: split must leave rows to train on: "),
    ],
)
def test_settings_that_allow_no_folds_end_in_one_line(project, count, changes, line):
    project.set_params(changes)
    failed = project.run(*COMMAND, count, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith(f"error: {line}")
    assert failed.stderr.count("\n") == 1
    assert failed.stdout == ""
