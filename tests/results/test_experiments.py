"""The user's own, untracked data in experiments that DVC runs in a copy of the project: real DVC, a file just put there."""

import json
import shutil
import time

import pytest

from finetune.base.yaml_file import parse_yaml_text
from finetune.results.experiments import own_files_digest, settings_digest
from tests.support.project import OWN_FILE, Project


@pytest.fixture
def own(project) -> Project:
    """The built project, whose file is in a subfolder, with another just put into data/local; Git ignores both."""
    shutil.copy(project.folder / OWN_FILE, project.folder / "data/local/own.csv")
    assert project.run("git", "status", "--porcelain").stdout == ""
    return project


def uri_of(project: Project, name: str) -> str:
    """`data.uri` of a finished experiment, as Git has it."""
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return parse_yaml_text(project.run("git", "show", f"{ref}:params.yaml").stdout, name)["data"]["uri"]


def test_a_queue_runs_with_such_a_file_and_says_what_a_task_lacks(own):
    """tests/test_seeds.py runs experiments outside the queue, with the file in a subfolder."""
    copied = {
        "file": ["--copy-paths", "data/local/own.csv", "-S", "data.uri=data/local/own.csv"],
        "no-file": ["-S", "data.uri=data/local/own.csv"],
        "no-folder": ["-S", "split.seed=1"],
    }
    for name, options in copied.items():
        own.dvc(*("exp", "run", "--queue", "--name", name, "--copy-paths", "data/local/model"), *options, "tokenize")
    own.dvc("queue", "start")
    ended = time.monotonic() + 200
    while "Running" in (status := own.dvc("queue", "status").stdout) or "Queued" in status:
        assert time.monotonic() < ended, status
        time.sleep(3)  # each look takes a second of a core
    states = {line.split()[1]: line.split()[-1] for line in status.splitlines() if line.endswith(("Success", "Failed"))}
    assert states == {"file": "Success", "no-file": "Failed", "no-folder": "Failed"}
    for name, option in (("no-file", "data/local/own.csv"), ("no-folder", "'data/local/my tickets'")):
        errors = [line for line in own.dvc("queue", "logs", name).stdout.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert errors[0].endswith(f"add `--copy-paths {option}` to `dvc exp run`")
    assert uri_of(own, "file") == "data/local/own.csv"


def test_the_digest_of_own_files_follows_their_content(workdir):
    """A corrected label, another file of the model's folder, a member of an archive; an address has no content here."""
    (workdir / "model").mkdir()
    for name, text in (("rows.csv", "a,good"), ("model/config.json", "{}"), ("reviews.zip", "zip")):
        (workdir / name).write_text(text)
    params = {"data": {"uri": "rows.csv"}, "model": {"uri": "model"}}
    digests = [own_files_digest(params)]
    assert own_files_digest(params) == digests[0]
    (workdir / "rows.csv").write_text("a,bad")
    digests.append(own_files_digest(params))
    (workdir / "model/vocab.txt").write_text("x")
    digests.append(own_files_digest(params))
    digests.append(own_files_digest({"data": {"uri": "reviews.zip#rows.csv"}}))
    digests.append(own_files_digest({"data": {"uri": "file://rows.csv"}}))
    assert len(set(digests)) == 5
    assert "" not in digests
    assert own_files_digest({"data": {"uri": "pkg:pypi/x@1#a/b.csv"}, "model": {"uri": "hf://x/y"}}) == ""


def test_the_digest_of_settings_leaves_out_what_changes_no_score_and_what_it_is_asked_to():
    """A nested parameter too; a name that is not there changes nothing."""
    params = {"train": {"lr": 1.0, "seed": 7, "lora": {"rank": 8, "alpha": 16}}, "split": {"seed": 1}}
    digest = settings_digest(params)
    for section in ("gate", "search", "export"):
        assert settings_digest(params | {section: {"any": 1}}) == digest
    other = json.loads(json.dumps(params))
    other["train"]["lora"]["rank"] = 4
    assert settings_digest(other) != digest
    for name in ("train.lora.rank", "train.none", "none.at.all"):
        same = settings_digest(other, without=(name,)) == settings_digest(params, without=(name,))
        assert same == (name == "train.lora.rank")
