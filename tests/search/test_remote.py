"""What must be in order before trials go to a cluster, and the options that name them; Ray is not needed for it."""

import argparse
import subprocess

import pytest

from finetune.base.errors import UserError
from finetune.base.yaml_file import parse_yaml
from finetune.search.remote import check_options, checked_source, fetched, reference
from finetune.variations import parsed_choices, variations
from tests.conftest import ROOT


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def problem() -> str:
    with pytest.raises(UserError) as raised:
        checked_source(1, 0)
    return str(raised.value)


def test_each_thing_that_workers_would_miss_gets_one_line_with_the_command_that_helps(workdir):
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Test")
    git("config", "user.email", "test@example.com")
    assert problem() == (
        "experiments start from a commit, and there is none here; run `git init`, then commit all files"
    )
    (workdir / ".dvc").mkdir()
    (workdir / ".dvc/config").touch()
    (workdir / "params.yaml").write_text("train: 1\n")
    git("add", "-A")
    git("commit", "-q", "-m", "Start")
    (workdir / "params.yaml").write_text("train: 2\n")
    assert problem().startswith("params.yaml has changes that are in no commit")
    git("restore", "params.yaml")
    assert problem().startswith("there is no Git remote origin")
    git("init", "-q", "--bare", "remote.git")
    git("remote", "add", "origin", "remote.git")
    assert problem().endswith("is in no branch of origin, from which workers clone; run `git push`")
    git("push", "-q", "origin", "main")
    assert problem().startswith("no commit names a default DVC remote")
    (workdir / ".dvc/config").write_text("[core]\n    remote = store\n['remote \"store\"']\n    url = /store\n")
    git("commit", "-q", "-a", "-m", "Name the remote")
    git("push", "-q", "origin", "main")
    source = checked_source(3, 1)
    assert source == (str(workdir / "remote.git"), git("rev-parse", "HEAD"), ("Test", "test@example.com"), 3, 1)

    name = reference(source.commit, "variation-1")
    git("push", "-q", "origin", f"HEAD:{name}")
    assert fetched(source, ["variation-1", "variation-2"]) == {"variation-1"}
    assert git("rev-parse", name) == source.commit
    git("remote", "set-url", "origin", "gone.git")
    with pytest.raises(UserError, match="^the Git remote origin at .* does not answer"):
        fetched(source, [])


def test_two_values_of_one_parameter_and_two_of_another_are_four_variations():
    values = parse_yaml(ROOT / "docs/default_run/params.yaml")
    choices = parsed_choices(["train.lr=1e-5,3e-5", "train.epochs=2,3"])
    assert choices == {"train.lr": [1e-5, 3e-5], "train.epochs": [2, 3]}
    found = variations(values, choices)
    assert list(found.values()) == [
        {"train.lr": 1e-5, "train.epochs": 2},
        {"train.lr": 1e-5, "train.epochs": 3},
        {"train.lr": 3e-5, "train.epochs": 2},
        {"train.lr": 3e-5, "train.epochs": 3},
    ]
    # 0.00001 is 1e-5: one experiment
    assert len(variations(values, parsed_choices(["train.lr=1e-5,0.00001"]))) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.lr", "-S train.lr must be NAME=VALUE,VALUE,…, such as train.lr=1e-5,3e-5"),
        ("train.rate=1", "train.rate"),
        ("train.lr=fast", "train.lr"),
    ],
)
def test_a_wrong_variation_gets_one_line(text, message):
    with pytest.raises(UserError, match=message) as raised:
        variations(parse_yaml(ROOT / "docs/default_run/params.yaml"), parsed_choices([text]))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("ray", "cpus", "gpus", "message"),
    [
        (None, 2, 0, "--cpus and --gpus need --ray"),
        ("auto", 0, 0, "--cpus must be at least 1, found 0"),
        ("auto", 1, -1, "--gpus must be at least 0, found -1"),
    ],
)
def test_wrong_options_get_one_line(ray, cpus, gpus, message):
    with pytest.raises(UserError, match=message):
        check_options(argparse.Namespace(ray=ray, cpus=cpus, gpus=gpus))
