"""`make`: its list of targets, its set-up, and its message if Python is missing. Nothing is installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = re.findall(r"^([a-z-]+):.*## (.+)$", MAKEFILE, re.MULTILINE)
# Replaces Python and each tool that pip would install: it logs every call and creates the files that they create.
STUB = """#!/bin/sh
echo "$(basename "$0") $*" >> "$LOG"
case "$*" in
  "-m venv .venv")
    mkdir -p .venv/bin
    for name in python dvc ruff pytest; do cp "$0" .venv/bin/$name; done ;;
  "-m finetune.plots_page")
    mkdir -p .dvc; touch .dvc/plots.html ;;
  "-m pip install"*)
    if [ -e broken ]; then rm broken; echo "the network is gone" >&2; exit 1; fi ;;
esac
"""
RUNTIME = "python -m pip install --disable-pip-version-check -r requirements.txt -r requirements-export.txt -r requirements-report.txt -r requirements-serve.txt -c constraints.txt"
PUBLISH = "python -m pip install --disable-pip-version-check -r requirements-publish.txt -c constraints.txt"
SEARCH = "python -m pip install --disable-pip-version-check -r requirements-search.txt -c constraints.txt"
CLUSTER = "python -m pip install --disable-pip-version-check -r requirements-cluster.txt -c constraints.txt"
DEVELOPMENT = "python -m pip install --disable-pip-version-check -r requirements-dev.txt -c constraints.txt"


class Workshop:
    """A folder with the Makefile, the lists of versions, and a stub for Python."""

    def __init__(self, folder: Path):
        self.folder, self.log = folder, folder / "log"
        for name in (
            "Makefile",
            "constraints.txt",
            *(
                f"requirements{part}.txt"
                for part in ("", "-export", "-report", "-serve", "-publish", "-search", "-cluster", "-dev")
            ),
        ):
            shutil.copy(ROOT / name, folder)
        self.stub = folder / "stub"
        self.stub.write_text(STUB)
        self.stub.chmod(0o755)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Runs real make with the stub as its Python, without the variables of a make that runs this test."""
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        return subprocess.run(
            ["make", f"PYTHON={self.stub}", *arguments],
            cwd=self.folder,
            env=outside | {"LOG": str(self.log), "LC_ALL": "C"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """Calls since the last call of this function."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="one process runs all tests")
def test_pytest_keeps_the_tests_of_a_module_in_one_process(request):
    """pytest-xdist writes the group of a test into its name; with pytest 9.2 it loses the groups without a word."""
    assert request.node.nodeid.endswith(f"@{__name__}")


@pytest.fixture
def workshop(tmp_path) -> Workshop:
    return Workshop(tmp_path)


def test_make_alone_lists_every_target_and_does_nothing(workshop):
    done = workshop.make()
    assert done.returncode == 0
    listed = [tuple(line.removeprefix("make ").split(maxsplit=1)) for line in done.stdout.splitlines()]
    assert listed == TARGETS
    assert {name for name, _ in TARGETS} == set(re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)[1].split())
    assert workshop.calls() == []


@pytest.mark.parametrize(
    ("target", "set_up", "work"),
    [
        (
            "repro",
            [RUNTIME, "python -m finetune.plots_page"],
            ["python -m finetune.preflight", "dvc --wait-for-lock repro", "python -m finetune.summary"],
        ),
        ("gate", [RUNTIME], ["python -m finetune.gate"]),
        ("report", [RUNTIME], ["python -m finetune.report"]),
        ("serve", [RUNTIME], ["python -m finetune.serve"]),
        ("publish", [RUNTIME, PUBLISH], ["python -m finetune.publish -- "]),
        ("search", [RUNTIME, SEARCH], ["python -m finetune.search -- 20"]),
        ("variations", [RUNTIME], ["python -m finetune.variations -S"]),
        ("test", [RUNTIME, PUBLISH, SEARCH, DEVELOPMENT], ["ruff check .", "ruff format --check .", "pytest "]),
        ("readme", [RUNTIME, PUBLISH, SEARCH, DEVELOPMENT], ["python -m docs.readme"]),
        ("cluster", [RUNTIME, PUBLISH, CLUSTER], []),
    ],
)
def test_the_first_call_sets_up_and_later_ones_only_work(workshop, target, set_up, work):
    assert workshop.make(target).returncode == 0
    assert workshop.calls() == ["stub -m venv .venv", *set_up, *work]
    assert workshop.make(target).returncode == 0
    assert workshop.calls() == work


@pytest.mark.parametrize(
    ("changed", "set_up"),
    [
        ("requirements-dev.txt", [DEVELOPMENT]),
        ("constraints.txt", ["stub -m venv .venv", RUNTIME, PUBLISH, SEARCH, DEVELOPMENT]),
        ("requirements-publish.txt", [PUBLISH, DEVELOPMENT]),
        ("requirements-search.txt", [SEARCH, DEVELOPMENT]),
    ],
)
def test_changed_versions_are_installed_again(workshop, changed, set_up):
    workshop.make("lint")
    workshop.calls()
    later = (workshop.folder / ".venv/development").stat().st_mtime + 10
    os.utime(workshop.folder / changed, (later, later))
    assert workshop.make("lint").returncode == 0
    assert workshop.calls() == [*set_up, "ruff check .", "ruff format --check ."]


def test_an_interrupted_set_up_is_repeated(workshop):
    (workshop.folder / "broken").touch()
    first = workshop.make("gate")
    assert first.returncode == 2
    assert "the network is gone" in first.stderr
    assert workshop.calls() == ["stub -m venv .venv", RUNTIME]
    assert workshop.make("gate").returncode == 0
    assert workshop.calls() == ["stub -m venv .venv", RUNTIME, "python -m finetune.gate"]


def test_a_missing_python_ends_in_one_line(workshop):
    done = workshop.make("PYTHON=python0.9", "gate")
    assert done.returncode == 2
    assert done.stdout == ""
    problem, *by_make = done.stderr.splitlines()
    assert problem == "error: python0.9 not found; install Python 3.11 or name yours: make PYTHON=python3"
    assert all(line.startswith("make: *** ") for line in by_make)
    assert workshop.calls() == []


def test_the_name_of_a_recipe_is_passed_on(workshop):
    workshop.make("gate")
    workshop.calls()
    assert workshop.make("recipe", "NAME=imdb-bert").returncode == 0
    assert workshop.calls() == ["python -m finetune.recipe -- imdb-bert"]


def test_a_branch_and_a_number_of_seeds_or_folds_are_passed_on(workshop):
    workshop.make("gate")
    workshop.calls()
    assert workshop.make("gate", "AGAINST=origin/main").returncode == 0
    assert workshop.make("seeds").returncode == 0
    assert workshop.make("seeds", "K=3").returncode == 0
    assert workshop.make("folds").returncode == 0
    assert workshop.make("folds", "FOLDS=10").returncode == 0
    assert workshop.calls() == [
        "python -m finetune.gate --against=origin/main",
        "python -m finetune.seeds -- 5",
        "python -m finetune.seeds -- 3",
        "python -m finetune.cross_validation -- 5",
        "python -m finetune.cross_validation -- 10",
    ]


def test_a_port_is_passed_on_and_without_one_the_servers_settings_hold(workshop, monkeypatch):
    workshop.make("gate")
    workshop.calls()
    monkeypatch.setenv("SERVE_PORT", "9000")
    assert workshop.make("serve", "PORT=8123").returncode == 0
    assert workshop.make("serve").returncode == 0
    assert workshop.calls() == ["python -m finetune.serve --port=8123", "python -m finetune.serve"]


def test_a_destination_is_passed_on(workshop):
    workshop.make("publish")
    workshop.calls()
    assert workshop.make("publish", "TO=s3://bucket/a key").returncode == 0
    assert workshop.make("publish", "TO=hf://owner/name", "PRIVATE=1").returncode == 0
    assert workshop.calls() == [
        "python -m finetune.publish -- s3://bucket/a key",
        "python -m finetune.publish --private -- hf://owner/name",
    ]


@pytest.mark.parametrize(
    "value",
    [
        "x'; touch pwned; '",
        '"; touch pwned; "',
        "$(shell touch pwned)",
        "$(touch pwned)",
        "`touch pwned`",
        "it's mine",
        "-x",
        "${HOME}",
    ],
)
@pytest.mark.parametrize(
    ("target", "name", "command"),
    [
        ("gate", "AGAINST", "gate --against={}"),
        ("report", "AGAINST", "report --against={}"),
        ("recipe", "NAME", "recipe -- {}"),
        ("seeds", "K", "seeds -- {}"),
        ("folds", "FOLDS", "cross_validation -- {}"),
        ("search", "TRIALS", "search -- {}"),
        ("serve", "PORT", "serve --port={}"),
        ("publish", "TO", "publish -- {}"),
    ],
)
def test_a_value_is_never_code(workshop, target, name, command, value):
    """Neither for make nor for the shell, from the command line or from the environment."""
    workshop.make(target)
    workshop.calls()
    assert workshop.make(target, f"{name}={value}").returncode == 0
    assert workshop.calls() == [f"python -m finetune.{command.format(value)}"]
    assert workshop.make(target, **{name: value}).returncode == 0
    assert workshop.calls() == [f"python -m finetune.{command.format(value)}"]
    assert not (workshop.folder / "pwned").exists()


def test_clean_removes_the_environment_and_nothing_else(workshop):
    before = {path.name for path in workshop.folder.iterdir()}
    workshop.make("gate")
    workshop.log.unlink()
    assert workshop.make("clean").returncode == 0
    assert {path.name for path in workshop.folder.iterdir()} == before
