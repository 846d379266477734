"""Trials on a real Ray cluster of two nodes on this machine; skipped without Ray."""

import subprocess
import sys

import pytest

from tests.support.project import Project

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402 (Ray may be missing)

FAILS = "train.batch_size must be at most 92, the training rows, found 1000"


@pytest.fixture
def shared(project, tmp_path) -> Project:
    """The built project with a Git remote and a DVC remote that hold its results."""
    project.run("git", "init", "-q", "--bare", str(tmp_path / "git"))
    project.run("git", "remote", "add", "origin", str(tmp_path / "git"))
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    project.commit("Name the remotes")
    project.run("git", "push", "-q", "origin", "main")
    project.run(sys.executable, "-m", "finetune.share", "push")
    return project


def variations(project: Project, *arguments: str) -> subprocess.CompletedProcess:
    return project.run(sys.executable, "-m", "finetune.variations", *arguments, check=False)


def trees(project: Project) -> dict[str, str]:
    """Git's hash of all files of each variation by name: metrics, plots, parameters and the checksums in dvc.lock."""
    listed = project.run("git", "for-each-ref", "--format=%(refname:lstrip=4) %(tree)", "refs/exps").stdout
    return dict(line.split() for line in listed.splitlines() if line.startswith("variation"))


@pytest.mark.filterwarnings("ignore")  # Ray leaves files open
def test_trials_survive_the_death_of_a_node_and_have_the_bytes_of_trials_here(shared, monkeypatch):
    for name, value in (shared.environment | {"RAY_USAGE_STATS_ENABLED": "0"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PYTHONPATH")
    before = [shared.read(name) for name in ("params.yaml", "dvc.lock", "metrics/test.json")]
    here = shared.copy(shared.folder.parent / "here")
    here.environment["PYTHONPATH"] = here.environment["PYTHONPATH"].replace(str(shared.folder), str(here.folder))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        command = [
            sys.executable,
            "-m",
            "finetune.variations",
            "-S",
            "train.epochs=1,2,3",
            "-S",
            "train.batch_size=8,1000",
        ]
        running = subprocess.Popen(
            [*command, "--ray", cluster.address, "--cpus", "1"],
            cwd=shared.folder,
            env=shared.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        first = running.stdout.readline()
        cluster.remove_node(second, allow_graceful=False)
        output = first + running.communicate(timeout=500)[0]
    finally:
        cluster.shutdown()
    assert running.returncode == 1
    assert output.count(f"failed: {FAILS}") == 3, output
    assert output.count("on validation (variation-") == 3, output
    assert "3 of 6 variations failed" in output.splitlines()[-1]
    assert [shared.read(name) for name in ("params.yaml", "dvc.lock", "metrics/test.json")] == before
    assert shared.run("git", "status", "--porcelain").stdout == ""
    assert variations(here, "-S", "train.epochs=1,2,3").returncode == 0
    assert trees(here) == trees(shared)
    assert len(trees(here)) == 3
