"""Reading any revision: what is in Git, what is not, and a workspace that stays as it is."""

import json
import subprocess

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from finetune.base.errors import UserError
from finetune.results.revisions import PREDICTIONS, Revision, merge_base


def git(*arguments: str) -> str:
    """Output of a Git command."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    return subprocess.run(["git", *identity, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def commit(accuracy: float, lr: float) -> str:
    """Hash of a commit with this accuracy and learning rate."""
    with open("metrics/test.json", "w") as file:
        json.dump({"accuracy": accuracy}, file)
    with open("params.yaml", "w") as file:
        file.write(f"train:\n  lr: {lr}\n")
    git("add", "-A")
    git("commit", "-q", "-m", f"lr {lr}")
    return git("rev-parse", "HEAD")


@pytest.fixture
def history(workdir, monkeypatch) -> dict[str, str]:
    """A repository in which the branch `slow` left main one commit before its end; hashes by what they are."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (workdir / "metrics/plots").mkdir(parents=True)
    git("init", "-q", "-b", "main")
    start = commit(0.8, 3e-5)
    git("checkout", "-q", "-b", "slow")
    slow = commit(0.7, 1e-5)
    git("checkout", "-q", "main")
    end = commit(0.9, 1e-4)
    git("checkout", "-q", "slow")
    return {"start": start, "slow": slow, "end": end}


def test_a_revision_is_read_from_git_and_the_workspace_from_its_files(history, workdir):
    (workdir / "metrics/test.json").write_text('{"accuracy": 0.75}')
    before = git("status", "--porcelain")
    assert Revision("main").metrics() == {"test": {"accuracy": 0.9}}
    assert Revision(history["start"]).metrics()["test"]["accuracy"] == 0.8
    assert Revision().metrics()["test"]["accuracy"] == 0.75
    assert Revision("main").params() == {"train": {"lr": 1e-4}}  # 0.0001 and 1e-05 are both numbers
    assert Revision("slow").params() == {"train": {"lr": 1e-5}}
    assert Revision("slow").text("params.yaml") == "train:\n  lr: 1e-05\n"
    assert git("status", "--porcelain") == before


@pytest.mark.usefixtures("history")
def test_a_revision_in_a_folder_of_a_larger_repository_is_read_from_that_folder(workdir, monkeypatch):
    (workdir / "part/metrics").mkdir(parents=True)
    (workdir / "part/metrics/test.json").write_text('{"accuracy": 0.1}')
    git("add", "-A")
    git("commit", "-q", "-m", "A part")
    monkeypatch.chdir("part")
    assert Revision("slow").metrics() == {"test": {"accuracy": 0.1}}


def test_the_merge_base_is_the_last_commit_that_both_share(history):
    assert merge_base("main") == history["start"]
    assert merge_base("slow") == history["slow"]
    assert str(Revision(history["start"])) == history["start"][:9]
    assert str(Revision("main")) == "main"


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize("rev", ["nowhere", "--all", "main:params.yaml"])
def test_an_unknown_revision_is_refused(rev):
    with pytest.raises(UserError, match="Git knows no revision"):
        Revision(rev)


@pytest.mark.usefixtures("history")
def test_what_is_missing_or_broken_at_a_revision_is_reported_with_its_name(workdir):
    git("rm", "-q", "metrics/test.json")
    git("commit", "-q", "-m", "No metrics")
    with pytest.raises(UserError, match="no metrics/test.json at slow"):
        Revision("slow").metrics()
    with pytest.raises(UserError, match="no README.md at main"):
        Revision("main").text("README.md")
    (workdir / "metrics").mkdir(exist_ok=True)
    (workdir / "metrics/test.json").write_text("{")
    (workdir / "params.yaml").write_text("train: [")
    with pytest.raises(UserError, match="metrics/test.json at workspace is not JSON"):
        Revision().metrics()
    with pytest.raises(UserError, match="params.yaml at workspace is not valid YAML"):
        Revision().params()


@pytest.mark.usefixtures("history")
def test_without_a_repository_or_a_shared_commit_is_an_error(tmp_path_factory, monkeypatch):
    git("checkout", "-q", "--orphan", "alone")
    git("commit", "-q", "--allow-empty", "-m", "Alone")
    with pytest.raises(UserError, match="HEAD and main share no commit"):
        merge_base("main")
    monkeypatch.chdir(tmp_path_factory.mktemp("empty"))
    with pytest.raises(UserError, match="no Git repository"):
        Revision("main")
    with pytest.raises(UserError, match="no metrics/test.json at workspace"):
        Revision().metrics()


def test_predictions_that_are_not_those_of_the_metrics_are_not_taken(workdir):
    """Two rows, each with probability 3/4 for its label: log loss ln(4/3) = 0.2877."""
    logits = [[np.log(3), 0.0], [0.0, np.log(3)]]
    PREDICTIONS.parent.mkdir(parents=True)
    pq.write_table(pa.table({"row": [5, 7], "label": [0, 1], "predicted": [0, 1], "logits": logits}), PREDICTIONS)
    (workdir / "metrics").mkdir()
    metrics = workdir / "metrics/test.json"
    metrics.write_text('{"accuracy": 1.0, "log_loss": 0.287682}')
    assert Revision().predictions().column("row").to_pylist() == [5, 7]
    metrics.write_text('{"accuracy": 1.0, "log_loss": 0.3}')
    other = Revision()
    assert other.predictions() is None
    assert other.why_no_predictions.endswith("does not match metrics/test.json; run `dvc checkout`")
    PREDICTIONS.write_text("no Parquet")
    broken = Revision()
    assert broken.predictions() is None
    assert "not a Parquet file" in broken.why_no_predictions
