"""A stage ends when the DVC that started it is killed, so it cannot write into the outputs of the next run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.support.project import STAGES

# A stage waits in C code, with its number in the file `held`, as soon as it imports our module about commands.
HOLD = """
import os, sys, time
class Hold:
    def find_spec(self, name, path, target=None):
        if name == "finetune.base.command" and os.path.exists("hold"):
            with open("held.part", "w") as file:
                file.write(str(os.getpid()))
            os.replace("held.part", "held")
            time.sleep(60)
            os._exit(9)
if "DVC_STAGE" in os.environ:
    sys.meta_path.insert(0, Hold())
"""
ENDED = "stopped, because the process that started this one has ended"


@pytest.fixture(scope="module")
def held_project(built, tmp_path_factory):
    """A copy of the built project whose stages wait while the file `hold` exists."""
    project = built.copy(tmp_path_factory.mktemp("held") / "project")
    (project.folder / "sitecustomize.py").write_text(HOLD, encoding="utf-8")
    with (project.folder / ".git/info/exclude").open("a") as file:
        file.write("sitecustomize.py\nhold\nheld\nheld.part\nshells\n")
    return project


def started(project, *repro: str, shell: str = "/bin/sh") -> tuple[subprocess.Popen, psutil.Process]:
    """A DVC command whose stage is run by this shell, and the process of the stage once it waits."""
    held = project.folder / "held"
    held.unlink(missing_ok=True)
    (project.folder / "hold").touch()
    dvc = subprocess.Popen(
        ["dvc", *repro],
        cwd=project.folder,
        env=project.environment | {"SHELL": shell},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 60
    while not held.exists():
        assert dvc.poll() is None, dvc.stdout.read()
        assert time.monotonic() < end, "the stage did not start"
        time.sleep(0.02)
    (project.folder / "hold").unlink()
    return dvc, psutil.Process(int(held.read_text()))


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def ends(process: psutil.Process, seconds: float) -> bool:
    """Whether the process ends within this time; nobody may have asked for its exit status yet."""
    end = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > end:
            process.kill()
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_ends_within_seconds_when_its_dvc_is_killed(held_project, stage):
    dvc, process = started(held_project, "repro", "--single-item", "--force", stage)
    os.kill(dvc.pid, signal.SIGKILL)
    assert ends(process, 5)
    output, _ = dvc.communicate(timeout=5)  # nothing else holds its output
    assert ENDED in output
    assert "Traceback" not in output


def test_also_under_a_shell_that_waits_for_the_stage_and_the_next_run_brings_the_outputs(held_project):
    """A shell that does not replace itself with its last command, and a killed DVC that had deleted the outputs."""
    shell = held_project.folder / "shells/sh"
    shell.parent.mkdir(exist_ok=True)
    shell.symlink_to("/bin/sh")
    held_project.run("sed", "-i", "s/cmd: python -m stages.tokenize/&; true/", "dvc.yaml")
    dvc, process = started(held_project, "repro", "--single-item", "--force", "tokenize", shell=str(shell))
    assert process.ppid() != dvc.pid  # the shell between them
    os.kill(dvc.pid, signal.SIGKILL)
    assert ends(process, 5)
    dvc.communicate(timeout=5)
    held_project.run("git", "restore", "dvc.yaml")
    assert not (held_project.folder / "data/tokenized").exists()
    assert held_project.ran(held_project.dvc("repro", "tokenize").stdout) == []  # from the cache
    assert (held_project.folder / "data/tokenized/train.parquet").is_file()


def test_ctrl_c_during_the_imports_ends_a_stage_without_a_traceback(held_project):
    dvc, process = started(held_project, "repro", "--single-item", "--force", "train")
    os.killpg(dvc.pid, signal.SIGINT)
    assert ends(process, 5)
    output, _ = dvc.communicate(timeout=5)
    assert dvc.returncode != 0
    assert "exited with -2" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(("variable", "expected"), [("DVC_STAGE", True), ("RANK", True), ("OTHER", False)])
def test_a_process_ends_with_dvc_or_torchrun_and_without_them_goes_on(variable, expected, tmp_path):
    """With `nohup`, a stage that was started by hand goes on after its shell has ended."""
    number, waits = tmp_path / "number", Path(tmp_path / "waits.py")
    waits.write_text(
        "import os, pathlib, time\n"
        "import finetune.base.parent as parent\n"
        "parent.end_with_parent()\n"
        "time.sleep(0.1)\n"  # until the thread runs
        f"pathlib.Path({str(number)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(30)\n"
    )
    start = (
        "import os, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, {str(waits)!r}])\n"
        f"while not os.path.exists({str(number)!r}): time.sleep(0.01)\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], variable: "0"}
    subprocess.run([sys.executable, "-c", start], env=environment, stderr=subprocess.DEVNULL, check=True)
    process = psutil.Process(int(number.read_text()))
    assert ends(process, 5 if expected else 1) is expected
