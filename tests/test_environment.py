"""The environment changes no tracked byte: the stages under several environments, on rows and labels that are not ASCII."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import OTHER_ENVIRONMENT, PARAMS, Project
from tests.support.tiny import reviews, write_table

# A proxy that nobody listens at: whatever tries to leave the machine fails at once.
CLOSED = dict.fromkeys(
    ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "HF_ENDPOINT"),
    "http://127.0.0.1:9",
)
# In one process, which loads torch once.
STAGES = """
from stages import baseline_eval, download, evaluate, export, teach, tokenize, train

for stage in (download, tokenize, baseline_eval, teach, train, evaluate, export):
    stage.main()
"""
NAMES = {"bad": "naïve Kritik", "good": "好"}


@pytest.fixture
def source(tmp_path) -> Path:
    """A project with rows whose texts and labels are not ASCII, in Git, nothing run yet."""
    project = Project.create(tmp_path / "source")
    rows = [row | {"text": row["text"] + " — très 好"} for row in reviews(160)]
    write_table(project.folder / "data/local/reviews.csv", rows)
    baseline = PARAMS["baseline"] | {
        "zero_shot": PARAMS["baseline"]["zero_shot"] | {"prompts": {name: name for name in NAMES.values()}}
    }
    train = PARAMS["train"] | {"epochs": 1}
    project.write_params(PARAMS | {"data": PARAMS["data"] | {"labels": NAMES}, "baseline": baseline, "train": train})
    return project.folder


def outputs(source: Path, folder: Path, umask: int, environment: dict[str, str]) -> dict[str, tuple[bytes, bool]]:
    """Every file that the stages write under this environment, with its bytes and whether it is executable, as DVC tracks it."""
    project = Project(source).copy(folder)
    command = [sys.executable, "-c", STAGES]
    done = subprocess.run(
        command,
        cwd=project.folder,
        env=project.environment | environment,
        umask=umask,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = {}
    for name in ("data", "models", "metrics"):
        for path in (project.folder / name).rglob("*"):
            if path.is_file():
                executable = bool(path.stat().st_mode & stat.S_IXUSR)
                found[path.relative_to(project.folder).as_posix()] = (path.read_bytes(), executable)
    return found


def test_the_stages_write_the_same_bytes_in_another_directory_and_environment_with_the_network_off(source, tmp_path):
    usual = outputs(source, tmp_path / "usual", 0o022, {})
    found = outputs(source, tmp_path / "another name", 0o077, OTHER_ENVIRONMENT | CLOSED)
    assert len(usual) > 30
    assert set(found) == set(usual)
    assert [name for name in usual if found[name] != usual[name]] == []
    here = os.fsencode(tmp_path)
    assert [name for name, (content, _) in found.items() if here in content] == []
    # DVC says the same: what it records of one run holds for the other.
    Project(tmp_path / "usual").dvc("commit", "--force")
    shutil.copy(tmp_path / "usual/dvc.lock", tmp_path / "another name/dvc.lock")
    shutil.copytree(tmp_path / "usual/.dvc/cache", tmp_path / "another name/.dvc/cache")
    assert "up to date" in Project(tmp_path / "another name").dvc("status").stdout
