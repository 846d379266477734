"""Settings and fixtures of all tests. Everything is written to temporary folders."""

import gc
import os
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

# Two test processes share two cores; one thread each also makes results the same on every run.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["PYTHONPATH"] = str(ROOT)
# Under nohup it is ignored, here and in the servers that tests start, which then rightly do not stop for it.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
# A shell starts background jobs with Ctrl-C ignored, and child processes inherit that. Some tests stop them with Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What is imported and collected stays to the end, so the garbage collector need not go through it again and again.
gc.disable()


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]):
    """Keeps tests that share fixtures in one process: those of the exported project, and others by module.

    Tests of the built project are spread singly. One process tests the exported project while the other builds, so neither
    waits; then come the tests of the built project and slow modules, and the quick ones fill the rest.
    """
    items.sort(key=turn)
    for item in items:
        if "exported" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group("exported"))
        elif "built" not in item.fixturenames and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.module.__name__))


def turn(item: pytest.Item) -> int:
    """When a test's turn is: 0 for the first ones."""
    if "exported" in item.fixturenames:
        return 0
    if "built" in item.fixturenames:
        return 1
    return 2 if item.module.__name__.startswith(("tests.training.", "tests.serve.")) else 3


@pytest.fixture
def workdir(tmp_path, monkeypatch) -> Path:
    """An empty folder, which is the current folder during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """A tiny BERT checkpoint; do not write to it."""
    from tests.support.tiny import tiny_checkpoint

    return tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "bert")


@pytest.fixture(scope="session")
def learnt(tmp_path_factory) -> Path:
    """A tiny exported folder whose model distinguishes good words from bad ones; do not write to it."""
    from stages.export import EXPORT
    from tests.support.learnt_export import learnt_export
    from tests.support.once import made_once

    return made_once(tmp_path_factory, "learnt", learnt_export) / EXPORT


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The tiny project after its first `dvc repro`, committed, built once for all test processes; do not change it."""
    from tests.support.once import made_once
    from tests.support.project import Project

    def build(folder: Path):
        project = Project.create(folder / "project")
        (folder / "first_output").write_text(project.dvc("repro").stdout, encoding="utf-8")
        project.commit("Run the pipeline")

    shared = made_once(tmp_path_factory, "built", build)
    # One copy for each process, because DVC locks a project even to read it.
    project = Project(shared / "project").copy(tmp_path_factory.mktemp("built") / "project")
    project.first_output = (shared / "first_output").read_text(encoding="utf-8")
    return project


@pytest.fixture
def project(built, tmp_path):
    """A copy of the built project, which a test may change."""
    return built.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def exported(tmp_path_factory, tiny_bert):
    """The tiny project with only the stage `export`, run and committed; do not change it."""
    from tests.support.export_project import exported_project

    return exported_project(tmp_path_factory.mktemp("exported") / "project", tiny_bert)
