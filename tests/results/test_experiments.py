"""The user's own, untracked data in experiments that DVC runs in a copy of the project: real DVC, a file just put there."""

import json
import shutil
import time

import pytest

from finetune.base.yaml_file import parse_yaml_text
from tests.support.project import Project


@pytest.fixture
def own(project) -> Project:
    """The built project with a file just put into data/local and another in a subfolder of a subfolder; Git ignores both."""
    for name in ("own.csv", "my tickets/2024/reviews.csv"):
        (project.folder / "data/local" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project.folder / "data/local/reviews.csv", project.folder / "data/local" / name)
    assert project.run("git", "status", "--porcelain").stdout == ""
    return project


def uri_of(project: Project, name: str) -> str:
    """`data.uri` of a finished experiment, as Git has it."""
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return parse_yaml_text(project.run("git", "show", f"{ref}:params.yaml").stdout, name)["data"]["uri"]


COPIED = {  # what params.yaml then names: what the command must copy beside the model
    "data/local/own.csv": "data/local/own.csv",
    "data/local/my tickets/2024/reviews.csv": "data/local/my tickets",
}


@pytest.mark.parametrize("uri", COPIED)
def test_a_file_just_put_there_reaches_a_temporary_experiment_with_copy_paths(own, uri):
    copied = ["--copy-paths", COPIED[uri], "--copy-paths", "data/local/model"]
    own.dvc("exp", "run", "--temp", "--name", "own", *copied, "-S", f"data.uri={uri}", "tokenize")
    assert uri_of(own, "own") == uri


def test_a_queue_runs_with_such_files_and_says_what_a_task_lacks(own):
    model = ["--copy-paths", "data/local/model"]
    for name, (uri, path) in zip(("file", "folder"), COPIED.items(), strict=True):
        own.dvc(
            "exp", "run", "--queue", "--name", name, *model, "--copy-paths", path, "-S", f"data.uri={uri}", "tokenize"
        )
        own.dvc("exp", "run", "--queue", "--name", f"no-{name}", *model, "-S", f"data.uri={uri}", "tokenize")
    own.dvc("queue", "start")
    ended = time.monotonic() + 200
    while "Running" in (status := own.dvc("queue", "status").stdout) or "Queued" in status:
        assert time.monotonic() < ended, status
        time.sleep(1)
    states = {line.split()[1]: line.split()[-1] for line in status.splitlines() if line.endswith(("Success", "Failed"))}
    assert states == {"file": "Success", "folder": "Success", "no-file": "Failed", "no-folder": "Failed"}
    for name, option in (("no-file", "data/local/own.csv"), ("no-folder", "'data/local/my tickets'")):
        errors = [line for line in own.dvc("queue", "logs", name).stdout.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert errors[0].endswith(f"add `--copy-paths {option}` to `dvc exp run`")
    assert {name: uri_of(own, name) for name in ("file", "folder")} == dict(
        zip(("file", "folder"), COPIED, strict=True)
    )


def test_seeds_take_the_user_s_own_file_in_a_subfolder_along(own):
    own.set_param("data.uri", "data/local/my tickets/2024/reviews.csv")
    own.commit("My tickets")
    own.run("python", "-m", "finetune.seeds", "2")
    seeds = json.loads(own.read("metrics/seeds.json"))
    assert seeds["seeds"] == [42, 43]
    assert len(seeds["accuracy"]["values"]) == 2
