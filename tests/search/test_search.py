"""The search through real DVC experiments on the tiny project."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.support.project import OWN_FILE, Project

TRAINS = "Running stage 'train'"
# In one process of the project: what a search does with a training that is bad, and with one that fails.
ENDS = """
from finetune.search.trials import Failed, Pruned, ensure_experiment

try:
    ensure_experiment("bad", {"train.epochs": 50}, lambda validations: validations[-1]["epoch"] >= 2)
except Pruned:
    print("pruned")
try:
    ensure_experiment("impossible", {"train.batch_size": 1000})
except Failed as error:
    print(error)
"""


def search(project: Project, trials: int, environment: dict[str, str]) -> subprocess.Popen:
    """A search that runs now, its output in a pipe."""
    command = [sys.executable, "-m", "finetune.search", str(trials)]
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def experiments(project: Project) -> set[str]:
    """Names of the experiments, as `dvc exp show` lists them."""
    shown = json.loads(project.dvc("exp", "show", "--json").stdout)
    return {one["name"] for baseline in shown for one in baseline["experiments"] or []}


def copies(project: Project) -> list[Path]:
    """DVC's copies of the project."""
    return [path for path in (project.folder / ".dvc/tmp/exps/standalone").glob("tmp*") if path.is_dir()]


def killed_while_training(project: Project, trials: int) -> str:
    """Kills a search during the training of its second trial, and waits for all that it started; returns its output."""
    running = search(project, trials, project.environment)
    ended = time.monotonic() + 300
    while not any(TRAINS in log.read_text() for log in project.folder.glob("search/logs/*.log")):
        assert time.monotonic() < ended
        assert running.poll() is None, running.stdout.read()
        time.sleep(0.1)
    started = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGKILL)
    assert psutil.wait_procs(started, timeout=60)[1] == []
    return running.communicate()[0]


@pytest.fixture
def searching(project) -> Project:
    """The built project with a learning rate that is too low, and a search over higher ones."""
    project.set_params({"train.lr": 1e-5, "train.epochs": 2})
    ranges = {"train.lr": {"low": 1e-5, "high": 3e-3, "log": True}, "train.dropout": [None, 0.1]}
    project.write_params(project.params() | {"search": {"metric": "validation.loss", "seeds": 0, **ranges}})
    project.dvc("repro", "evaluate")
    project.commit("A search")
    return project


def test_a_killed_search_resumes_ends_with_a_table_and_a_proposal_and_leaves_the_workspace_unchanged(searching):
    before = [searching.read(name) for name in ("params.yaml", "dvc.lock", "metrics/test.json")]
    killed = killed_while_training(searching, 3)
    assert "trial 0: validation.loss" in killed
    interrupted = next(line for line in killed.splitlines() if line.startswith("trial 1: lr"))
    assert len(experiments(searching)) == 1

    running = search(searching, 3, searching.warm)
    output = running.communicate(timeout=900)[0]
    assert running.returncode == 0, output
    assert "trial 0" not in output
    assert interrupted in output.splitlines()
    found = json.loads(searching.read("metrics/search.json"))
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 3
    names = {trial["experiment"] for trial in found["trials"]}
    assert experiments(searching) == names
    assert all(name in output for name in names)
    best = min(found["trials"], key=lambda trial: trial["value"])
    assert best["trial"] > 0
    assert found["proposal"]["experiment"] == best["experiment"]
    assert found["proposal"]["test"]["rows"] == json.loads(searching.read("metrics/test.json"))["rows"]
    assert f"`dvc exp apply {best['experiment']}`" in output
    assert "the best of 3 trials is optimistic" in output
    assert "<svg" in searching.read("metrics/search.svg")
    assert [searching.read(name) for name in ("params.yaml", "dvc.lock", "metrics/test.json")] == before
    assert searching.run("git", "status", "--porcelain").stdout == "?? metrics/search.json\n?? metrics/search.svg\n"

    again = search(searching, 3, searching.warm).communicate(timeout=300)[0]
    assert not any(line.startswith("trial ") and ":" in line for line in again.splitlines())
    assert json.loads(searching.read("metrics/search.json")) == found

    searching.dvc("exp", "apply", best["experiment"])
    assert searching.params()["train"]["lr"] == best["settings"]["train.lr"]
    assert json.loads(searching.read("metrics/train.json"))["validation"]["loss"] == pytest.approx(best["value"])


def test_a_bad_training_is_ended_after_its_second_epoch_and_neither_it_nor_a_failed_one_leaves_anything(project):
    done = project.run(sys.executable, "-c", ENDS, warm=False)  # it ends the stages below its own process
    assert done.stdout.splitlines() == ["pruned", "train.batch_size must be at most 92, the training rows, found 1000"]
    log = project.read("search/logs/bad.log")
    assert "epoch 2: " in log
    assert "epoch 50: " not in log
    assert experiments(project) == set()
    assert copies(project) == []
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.run("git", "stash", "list").stdout == ""


def test_data_that_changed_since_the_last_run_are_refused(project):
    project.write_params(project.params() | {"search": {"train.lr": {"low": 1e-4, "high": 1e-2}}})
    path = project.folder / OWN_FILE
    path.write_text(path.read_text() + "a dull film,bad,film 99\n")
    failed = project.run("python", "-m", "finetune.search", "3", check=False)
    assert failed.returncode == 1
    assert failed.stderr == (
        "error: the stage download has not run with these settings and files; run `make repro`, then search again\n"
    )
    assert not os.path.exists(project.folder / "metrics/search.json")
