"""The workflow for GitHub is valid, passes its linters, and has only the permissions it needs."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

WORKFLOW = ROOT / ".github/workflows/ci.yml"
JOBS = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]


def tool(*command: str) -> subprocess.CompletedProcess:
    """Runs a linter installed with this Python, without a token, so that it does not use the network."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GH_", "GITHUB_"))}
    program = Path(sys.executable).with_name(command[0])
    if not program.is_file():
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run([program, *command[1:]], env=environment, capture_output=True, text=True, check=False)


def test_the_workflow_matches_githubs_schema():
    done = tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(WORKFLOW))
    assert done.returncode == 0, done.stdout


def test_the_workflow_has_no_known_weakness():
    done = tool("zizmor", "--offline", str(WORKFLOW))
    assert done.returncode == 0, done.stdout


def test_only_the_job_that_comments_may_write_and_it_runs_no_code_of_the_pull_request():
    text = WORKFLOW.read_text(encoding="utf-8")
    assert "pull_request_target" not in text
    assert "secrets." not in text
    assert {name: job.get("permissions") for name, job in JOBS.items()} == {
        "pipeline": None,  # those of the workflow
        "comment": {"pull-requests": "write"},
    }
    assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
    assert not any("checkout" in step.get("uses", "") for step in JOBS["comment"]["steps"])


def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it():
    """A tag can be moved to other code, a commit cannot."""
    used = re.findall(r"uses: *(.+)", WORKFLOW.read_text(encoding="utf-8"))
    assert len(used) == len([step for step in STEPS if "uses" in step])
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)] == []


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("requirements*.txt")), ROOT / "constraints.txt"], ids=lambda path: path.name
)
def test_every_requirement_is_pinned_to_one_version_and_names_no_other_place(path):
    lines = [line.partition(" #")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert [
        pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==[0-9][0-9A-Za-z.+!]*", pin)
    ] == []


def test_every_installed_requirement_of_a_requirement_is_pinned_too():
    """Otherwise pip would take the newest version of what a pinned package pulls in."""
    texts = [path.read_text(encoding="utf-8") for path in (*ROOT.glob("requirements*.txt"), ROOT / "constraints.txt")]
    pins = {
        canonicalize_name(name) for text in texts for name in re.findall(r"^([\w.-]+)(?:\[.*\])?==", text, re.MULTILINE)
    }
    missing, seen, waiting = set(), set(), set(pins)
    while waiting:
        name = waiting.pop()
        seen.add(name)
        try:
            needs = [Requirement(line) for line in metadata.requires(name) or []]
        except metadata.PackageNotFoundError:  # for another platform, or not installed here
            continue
        needed = {
            canonicalize_name(need.name) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})
        }
        missing |= needed - pins
        waiting |= needed - seen
    assert missing == set()


def test_make_targets_and_scripts_that_the_workflow_calls_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = "\n".join(step.get("run", "") for step in STEPS)
    called = set(re.findall(r"\bmake ([a-z.][a-z./-]*)", commands))
    assert called
    assert {target for target in called if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)} == set()
    assert ".ci/run" in commands


def run_step(name: str, folder: Path, **environment: str) -> str:
    """The job's summary after bash has run a step's script as GitHub does, in a folder of its own."""
    script = next(step["run"] for step in STEPS if step.get("name") == name)
    paths = {"GITHUB_STEP_SUMMARY": str(folder / "summary.md"), "PATH": os.environ["PATH"]}
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=paths | environment, check=True)
    return (folder / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("remotes", "pulls", "fork", "sentences"),
    [
        ("", 0, "false", ["No DVC remote is configured"]),
        ("store", 0, "false", ["Results came from the DVC remote where it has them"]),
        ("store", 1, "false", ["The DVC remote could not be used"]),
        ("store", 1, "true", ["a fork, which has no access to the DVC remote", "A fork cannot comment"]),
    ],
)
def test_the_summary_reports_a_missing_remote_and_the_limits_of_a_fork(tmp_path, remotes, pulls, fork, sentences):
    """The real steps of the workflow, with stubs for make and dvc."""
    stubs = {
        "bin/make": f'case "$1" in pull) exit {pulls};; esac',
        ".venv/bin/dvc": f'case "$1" in remote) echo "{remotes}";; esac',
    }
    for name, text in stubs.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    (tmp_path / "summary.md").touch()
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    variables = tmp_path / "variables"
    run_step("Pull from the DVC remote", tmp_path, FORK=fork, PATH=path, GITHUB_ENV=str(variables))
    # `make repro` of a later step asks the remote only if it answered.
    assert variables.exists() == (remotes == "store" and not pulls)
    (tmp_path / "page.md").write_text("# The gate holds\n")
    summary = run_step("Summary", tmp_path)
    assert summary.startswith("# The gate holds\n")
    assert summary.count("\n- ") == len(sentences)
    assert all(words in summary for words in sentences)


def test_without_a_page_the_summary_says_that_the_run_ended_early(tmp_path):
    assert run_step("Summary", tmp_path) == "# The run ended before the gate; its log gives the reason\n"
