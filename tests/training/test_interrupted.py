"""Training under real `dvc`: killed at any moment, asked to stop, in several processes."""

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from finetune.base.errors import UserError
from finetune.base.metric_files import joined
from finetune.training.distributed import launch

OUTPUTS = ("models/finetuned", "metrics/train.json", "metrics/detail/train", "metrics/plots/train")
# Checkpoints after every step: the tiny training ends before the first one would be due.
EAGER = "import finetune.training.checkpoints as r; r.SECONDS = 0; r.SHARE = 1e9"
RANKS = """
import os
from finetune.base.command import run
from stages import train

ranks = []
for rank in ("0", "1"):
    ranks.append(os.fork())
    if ranks[-1] == 0:
        os.environ |= {"RANK": rank, "LOCAL_RANK": rank}
        raise SystemExit(run(train.main))
raise SystemExit(any([os.waitpid(rank, 0)[1] for rank in ranks]))
"""
LONGER = {"train.epochs": 8, "train.frozen_from": 0.5}


@pytest.fixture
def training(project):
    """The built project before a longer training, with layers that freeze and a checkpoint after each step."""
    project.set_params(LONGER)
    sitecustomize = project.folder / "sitecustomize.py"
    sitecustomize.write_text(
        "import sys\n"
        "class Eager:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'finetune.training.fit':\n"
        f"            {EAGER}\n"
        "sys.meta_path.insert(0, Eager())\n",
        encoding="utf-8",
    )
    with (project.folder / ".git/info/exclude").open("a") as file:
        file.write("sitecustomize.py\n")
    return project


def contents(project) -> dict[str, bytes]:
    """Bytes of every output of the training."""
    paths = [project.folder / name for name in OUTPUTS]
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return {str(file.relative_to(project.folder)): file.read_bytes() for file in files}


def start(project, *command: str) -> subprocess.Popen:
    """A command in its own process group, as a terminal starts it."""
    return subprocess.Popen(
        command,
        cwd=project.folder,
        env=project.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def steps_done(project) -> int:
    """Step of the newest complete checkpoint, 0 without one."""
    notes = project.folder.glob("checkpoints/*/checkpoint-*/complete.json")
    return max((int(note.parent.name.removeprefix("checkpoint-")) for note in notes), default=0)


def reaches(project, step: int):
    """Condition that a complete checkpoint of this step exists, or of a later one."""
    return lambda: steps_done(project) >= step


def wait_for(condition, seconds: float = 120):
    """Returns when the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"no such state within {seconds} seconds"
        time.sleep(0.02)  # each look costs the training time


@pytest.fixture
def undisturbed(built, tmp_path, monkeypatch) -> dict[str, bytes]:
    """Outputs of the longer training without an interruption."""
    project = built.copy(tmp_path / "undisturbed" / "project")
    project.set_params(LONGER)
    with monkeypatch.context() as patched:
        patched.chdir(project.folder)
        project.run_here("train")
    return contents(project)


def stopped_when(
    project, condition, signal_number: int, whole_group: bool, command: tuple[str, ...] = ("dvc", "repro")
) -> str:
    """Output of a `dvc repro`, or another command, that gets a signal, alone or with all its processes, as soon as the condition holds."""
    repro = start(project, *command)
    wait_for(condition)
    if whole_group:
        os.killpg(repro.pid, signal_number)
    else:
        os.kill(repro.pid, signal_number)
    output, _ = repro.communicate(timeout=60)  # until the stage, too, has closed its stdout
    assert repro.returncode != 0
    assert "Traceback" not in output
    wait_for(lambda: not running(project))
    return output


def test_a_repro_that_is_killed_or_stopped_resumes_and_ends_with_the_same_bytes(training, undisturbed):
    """One training, ended four times: SIGKILL to all of `dvc repro` early and just before DVC has tracked the model; between
    them Ctrl-C, which a terminal sends to all processes, and SIGKILL to `dvc` alone, whose stage then stops by itself.
    """
    weights = training.folder / "models/finetuned/model.safetensors"
    stopped_when(training, reaches(training, 1), signal.SIGKILL, whole_group=True)
    done = steps_done(training)
    for number in (signal.SIGINT, signal.SIGKILL):
        output = stopped_when(training, reaches(training, done + 10), number, whole_group=number == signal.SIGINT)
        assert f"resumes from step {done} of" in output
        done = steps_done(training)
    assert 21 <= done < 96
    output = stopped_when(training, weights.exists, signal.SIGKILL, whole_group=True)
    assert f"resumes from step {done} of" in output
    assert "resumes from step 96 of 96" in training.dvc("repro", "train").stdout
    assert contents(training) == undisturbed
    assert "up to date" in training.dvc("status", "train").stdout


def test_a_finished_pipeline_leaves_no_checkpoints(built):
    assert (built.folder / "checkpoints").is_dir()
    assert not list(built.folder.glob("checkpoints/*/*"))


def run_as_two(project) -> str:
    """Output of the stage `train` in two processes, as torchrun starts them but after one import for both."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    rendezvous = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return project.run("python", "-c", RANKS, **rendezvous).stdout


def running(project) -> list[int]:
    """Processes of the stage `train` of this project."""
    numbers = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"stages.train" in (entry / "cmdline").read_bytes() and (entry / "cwd").resolve() == project.folder:
                numbers.append(int(entry.name))
        except OSError:
            continue
    return numbers


@pytest.mark.parametrize(
    ("engine", "frozen_from", "class_weights"),
    [("trainer", 1.0, {"negative": 4.0, "positive": 0.5}), ("loop", 0.3, "balanced")],
)
def test_two_processes_give_the_result_of_one(project, engine, frozen_from, class_weights, monkeypatch):
    """The same global batches, which two processes compute in parts; no dropout, whose masks differ between processes.

    92 rows in batches of 7 leave one row; in parts of 40 tokens, some parts have no row for the second process.
    """
    project.set_params(
        {
            "train.engine": engine,
            "train.epochs": 3,
            "train.dropout": 0.0,
            "train.batch_size": 7,
            "train.frozen_from": frozen_from,
            "train.class_weights": class_weights,
        }
    )

    def outcome() -> tuple[dict, dict]:
        weights = load_file(project.folder / "models/finetuned/model.safetensors")
        headline, detail = (
            json.loads(project.read(f"metrics/{file}.json")) for file in ("train", "detail/train/train")
        )
        return weights, joined(headline, detail)

    with monkeypatch.context() as patched:
        patched.chdir(project.folder)
        project.run_here("train")
    one, alone = outcome()
    project.set_param("train.processes", 2)
    module = project.folder / "finetune/encoder/hardware.py"
    whole = module.read_text(encoding="utf-8")
    module.write_text(whole.replace("CACHED_TOKENS = 2048", "CACHED_TOKENS = 40"), encoding="utf-8")
    assert module.read_text(encoding="utf-8") != whole
    run_as_two(project)
    two, together = outcome()
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-3
    assert together["validation"]["loss"] == pytest.approx(alone["validation"]["loss"], abs=1e-4)
    same = ("steps", "best_epoch", "parameters")
    assert [together[key] for key in same] == [alone[key] for key in same]


def test_more_processes_than_cores_are_an_error():
    cores = len(os.sched_getaffinity(0))
    message = rf"^train\.processes must be at most {cores}, the cores of this machine, found 1000$"
    with pytest.raises(UserError, match=message):
        launch("stages.train", 1000)


def test_several_processes_report_a_mistake_once(project):
    project.set_param("train.processes", 2)
    project.set_param("train.batch_size", 1000)
    failed = project.run("python", "-m", "stages.train", check=False)
    assert failed.returncode == 1
    lines = [line for line in failed.stderr.splitlines() if "train.batch_size must be at most" in line]
    assert len(lines) == 1
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("strategy", ["full", "contrastive"])
def test_two_processes_stop_and_resume_together(training, strategy):
    training.set_param("train.processes", 2)
    training.set_param("train.strategy", strategy)
    training.set_param("train.epochs", 2)
    stage = start(training, "python", "-m", "stages.train")
    wait_for(reaches(training, 5))
    stage.send_signal(signal.SIGTERM)
    output, _ = stage.communicate(timeout=60)
    assert stage.returncode != 0
    assert "Traceback" not in output
    wait_for(lambda: not running(training))
    done = steps_done(training)
    assert f"resumes from step {done} of" in run_as_two(training)
