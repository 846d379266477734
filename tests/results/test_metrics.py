"""Metrics by name, from one file or two, of the workspace and of any commit."""

import json

import pytest

from finetune.base.errors import UserError
from finetune.base.metric_files import write_metrics
from finetune.results.metrics import look_up, read_metrics
from finetune.results.revisions import Revision
from tests.results.test_revisions import git

TEST = {"accuracy": 0.8, "per_class": {"v1.0": {"f1": 0.7}}, "rows": 10}
SLICES = {"worst": {"slice": "length: long", "accuracy": 0.5}}


@pytest.fixture
def repository(workdir, monkeypatch):
    """A commit with all metrics in one file each, and after it a commit with headline and detail apart."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (workdir / "metrics/plots/train").mkdir(parents=True)
    (workdir / "metrics/plots/train/metrics.json").write_text('{"step": 1}')
    for name, content in (("test", TEST), ("slices", SLICES)):
        (workdir / f"metrics/{name}.json").write_text(json.dumps(content))
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "One file")
    git("tag", "one-file")
    (workdir / "metrics/slices.json").unlink()
    write_metrics("test", TEST | {"accuracy": 0.9})
    write_metrics("slices", SLICES)
    git("add", "-A")
    git("commit", "-q", "-m", "Headline and detail")
    return workdir


@pytest.mark.usefixtures("repository")
def test_headline_and_detail_are_joined_in_the_workspace_and_in_git_and_older_commits_are_read_too():
    now = {"test": TEST | {"accuracy": 0.9}, "slices": SLICES}
    assert read_metrics() == now
    assert Revision().metrics() == now
    assert Revision("main").metrics() == now
    assert Revision("one-file").metrics() == {"test": TEST, "slices": SLICES}
    assert look_up(read_metrics(), "test.per_class.v1.0.f1") == 0.7


def test_a_file_of_the_time_before_the_split_does_not_count_where_the_stage_writes_detail_alone(repository):
    stale = {"worst": {"slice": "group: old"}, "group": {"old": {"accuracy": 0.1}}}
    (repository / "metrics/slices.json").write_text(json.dumps(stale))
    assert read_metrics()["slices"] == Revision().metrics()["slices"] == SLICES


def test_detail_that_is_not_json_is_named(repository):
    (repository / "metrics/detail/evaluate/slices.json").write_text("{")
    for read in (read_metrics, Revision().metrics):
        with pytest.raises(UserError, match=r"^metrics/detail/evaluate/slices\.json.* is not JSON"):
            read()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "metrics/test.json is not JSON (it nests lists or objects too deeply); bring it back with"),
        (b"9" * 5_000, "metrics/test.json is not JSON (Exceeds the limit"),
        (b"\xff", "metrics/test.json is not UTF-8 text; bring it back with"),
        (b" " * 10_000_001, "metrics/test.json has more than 10,000,000 characters, so it is not what belongs there"),
    ],
)
def test_a_file_that_cannot_be_read_ends_in_one_line(workdir, content, message):
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_bytes(content)
    for read in (read_metrics, Revision().metrics):
        with pytest.raises(UserError) as caught:
            read()
        assert str(caught.value).startswith(message) or "at workspace is not JSON" in str(caught.value)
