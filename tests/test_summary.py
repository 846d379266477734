"""The end of `make repro`: the table of scores, and one line if metrics/ differ from Git."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.summary import changed_metrics
from tests.support.export_project import METRICS

LINE = "metrics/ differ from the last commit: another processor changes last digits"


def git(*arguments: str):
    """Runs a Git command, which must succeed."""
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *who, *arguments], check=True)


@pytest.fixture
def repository(workdir) -> Path:
    """A repository with metrics and dvc.lock, all committed."""
    git("init", "-q", "-b", "main")
    (workdir / "metrics").mkdir()
    for name in ("test", "baseline"):
        (workdir / f"metrics/{name}.json").write_text(json.dumps(METRICS[name]))
    (workdir / "dvc.lock").write_text("schema: '2.0'\n")
    git("add", "-A")
    git("commit", "-qm", "Start")
    return workdir


def change(repository: Path):
    """Changes the accuracy in metrics/test.json."""
    text = json.dumps(METRICS["test"] | {"accuracy": 0.8126})
    (repository / "metrics/test.json").write_text(text)


def test_unchanged_metrics_give_no_line(repository):
    assert changed_metrics() is None
    (repository / "dvc.lock").write_text("schema: '2.1'\n")
    (repository / "metrics/seeds.json").write_text("{}")  # not in Git
    assert changed_metrics() is None


@pytest.mark.parametrize("staged", [False, True])
def test_changed_metrics_are_reported_until_they_are_restored_or_committed(repository, staged):
    change(repository)
    if staged:
        git("add", "-A")
    line = changed_metrics()
    assert line.startswith(LINE)
    assert line.endswith("undo them with `git restore metrics dvc.lock`")
    assert "\n" not in line
    git("restore", "--staged", "--worktree", "metrics", "dvc.lock")
    assert changed_metrics() is None
    change(repository)
    git("commit", "-qam", "Other metrics")
    assert changed_metrics() is None


def test_without_a_repository_a_commit_or_git_there_is_no_line(workdir, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(workdir.parent))
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_text("{}")
    assert changed_metrics() is None
    git("init", "-q")
    assert changed_metrics() is None
    monkeypatch.setenv("PATH", str(workdir))
    assert changed_metrics() is None


def test_the_command_ends_with_the_line(repository):
    change(repository)
    done = subprocess.run([sys.executable, "-m", "finetune.summary"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith(LINE)
    assert "fine-tuned" in done.stdout
    assert done.stderr == ""


STAGES = """
stages:
  download:
    cmd: ulimit -S -f unlimited && mkdir raw && head -c 3000000 /dev/zero > raw/rows
    outs: [raw]
"""


def test_outputs_that_do_not_fit_into_dvcs_cache_are_an_error_and_the_next_run_stores_them(repository):
    """DVC itself ends with status 0. The limit on the size of files, which the stage lifts for itself, stands for a full disk."""
    (repository / "dvc.yaml").write_text(STAGES)
    dvc = [sys.executable, "-m", "dvc"]
    subprocess.run([*dvc, "init", "-q"], check=True)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    full = subprocess.run([*dvc, "repro"], preexec_fn=limited, capture_output=True, text=True, check=False)
    assert "File too large" in full.stderr
    assert full.returncode == 0
    command = [sys.executable, "-m", "finetune.summary"]
    failed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith(
        "error: DVC's cache lacks raw: either DVC could not store it, as its errors above say"
    )
    assert failed.stderr.count("\n") == 1
    assert "Fine-tuning helps" in failed.stdout
    subprocess.run([*dvc, "repro"], check=True)
    assert subprocess.run(command, capture_output=True, text=True, check=False).stderr == ""


def test_a_summary_that_cannot_ask_dvc_says_so(repository):
    """A damaged file stands for a full or read-only disk, on which `dvc status` fails too."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    (repository / "dvc.yaml").write_text("stages: [")
    failed = subprocess.run([sys.executable, "-m", "finetune.summary"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: DVC cannot tell whether it has stored all outputs (")
    assert failed.stderr.count("\n") == 1
    assert "Fine-tuning helps" in failed.stdout


def test_the_summary_mends_a_list_of_locks_that_was_cut_off(repository):
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    (repository / ".dvc/tmp").mkdir(exist_ok=True)
    (repository / ".dvc/tmp/rwlock").write_text('{"write": {')
    done = subprocess.run([sys.executable, "-m", "finetune.summary"], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].startswith("removed .dvc/tmp/rwlock: ")
