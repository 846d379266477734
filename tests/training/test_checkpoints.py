"""A killed or stopped training resumes from its last checkpoint and ends with the same bytes."""

import os
import resource
import shutil
import signal
import time

import pytest
import torch

from finetune.base.errors import Stopped, UserError, file_problem
from finetune.training.checkpoints import Checkpoints, is_complete, stage_key
from finetune.training.fit import Fit
from finetune.training.interrupts import Interrupts
from tests.conftest import ROOT
from tests.support.fitting import fit, weights_of

BOTH = pytest.mark.parametrize("engine", ["trainer", "loop"])


class Killed(BaseException):
    """Ends a training; a BaseException, so that no handler of the training catches it."""


@pytest.fixture
def kill_at(monkeypatch):
    """Function that sets the step after which a training is killed, None for never; every step before has a checkpoint."""

    def arm(step: int | None):
        def after_step(self, *values):
            original(self, *values)
            if self.progress.step == step:
                raise Killed

        monkeypatch.setattr(Fit, "after_step", after_step)

    monkeypatch.setattr(Checkpoints, "due", lambda _: True)
    original = Fit.after_step
    return arm


def files(folder):
    """Content of each file below a folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("engine", "strategy", "frozen_from"),
    [
        ("trainer", "full", 0.3),
        ("trainer", "lora", 1.0),
        ("loop", "full", 0.3),
        ("loop", "head", 1.0),
        ("loop", "gradual", 1.0),
        ("loop", "lora", 1.0),
        ("trainer", "lp_ft", 0.3),
        ("loop", "lp_ft", 0.3),
        ("trainer", "contrastive", 1.0),
        ("loop", "contrastive", 1.0),
    ],
)
def test_a_killed_training_ends_with_the_weights_and_curves_of_an_undisturbed_one(
    tiny_bert, tmp_path, engine, strategy, frozen_from, kill_at, capsys
):
    """5 steps an epoch: killed in the first epoch, after its validation, and in the last step but one."""
    settings = {"rows": 40, "engine": engine, "strategy": strategy, "frozen_from": frozen_from}
    undisturbed, _ = fit(tmp_path / "undisturbed", tiny_bert, **settings)
    for step in (2, 6, 14):
        kill_at(step)
        with pytest.raises(Killed):
            fit(tmp_path / "killed", tiny_bert, **settings)
    kill_at(None)
    model, _ = fit(tmp_path / "killed", tiny_bert, **settings)
    assert "train: resumes from step 13 of 15" in capsys.readouterr().out
    assert torch.equal(weights_of(model), weights_of(undisturbed))
    assert files(tmp_path / "killed/live") == files(tmp_path / "undisturbed/live")


@BOTH
def test_a_killed_training_of_limited_steps_ends_as_an_undisturbed_one(tiny_bert, tmp_path, engine, kill_at):
    """5 steps an epoch and 12 in all: the third epoch is cut short, and killed in its last step."""
    settings = {"rows": 40, "engine": engine, "max_steps": 12, "frozen_from": 0.3}
    undisturbed, _ = fit(tmp_path / "undisturbed", tiny_bert, **settings)
    for step in (6, 12):
        kill_at(step)
        with pytest.raises(Killed):
            fit(tmp_path / "killed", tiny_bert, **settings)
    kill_at(None)
    model, training = fit(tmp_path / "killed", tiny_bert, **settings)
    assert (training.progress.step, training.progress.epoch) == (12, 3)
    assert torch.equal(weights_of(model), weights_of(undisturbed))
    assert files(tmp_path / "killed/live") == files(tmp_path / "undisturbed/live")


@BOTH
def test_a_killed_training_with_repeated_epochs_ends_like_an_undisturbed_one(
    tiny_bert, tmp_path, engine, kill_at, capsys
):
    """5 steps an epoch, 12 epochs, validated after each third: killed within one, after one without validation and with."""
    settings = {"rows": 40, "engine": engine, "epochs": 1, "min_steps": 60}
    undisturbed, _ = fit(tmp_path / "undisturbed", tiny_bert, **settings)
    for step in (8, 11, 16, 59):
        kill_at(step)
        with pytest.raises(Killed):
            fit(tmp_path / "killed", tiny_bert, **settings)
    kill_at(None)
    model, _ = fit(tmp_path / "killed", tiny_bert, **settings)
    output = capsys.readouterr().out
    for step in (7, 10, 15, 58):
        assert f"train: resumes from step {step} of 60" in output
    assert torch.equal(weights_of(model), weights_of(undisturbed))
    assert files(tmp_path / "killed/live") == files(tmp_path / "undisturbed/live")


@pytest.mark.parametrize(
    ("engine", "number", "status"), [("trainer", signal.SIGTERM, 143), ("loop", signal.SIGINT, 130)]
)
def test_a_stopped_training_saves_first(tiny_bert, tmp_path, engine, number, status, monkeypatch):
    def after_step(self, *values):
        original(self, *values)
        if self.progress.step == 7:
            os.kill(os.getpid(), number)

    original = Fit.after_step
    handler = signal.getsignal(number)
    monkeypatch.setattr(Fit, "after_step", after_step)
    with pytest.raises(Stopped, match=r"^stopped after step 7 of 30; `dvc repro` resumes from there$") as caught:
        fit(tmp_path / "stopped", tiny_bert, engine=engine)
    assert caught.value.status == status
    assert signal.getsignal(number) is handler
    assert is_complete(tmp_path / "stopped/checkpoints/key/checkpoint-7")
    monkeypatch.setattr(Fit, "after_step", original)
    model, _ = fit(tmp_path / "stopped", tiny_bert, engine=engine)
    undisturbed, _ = fit(tmp_path / "undisturbed", tiny_bert, engine=engine)
    assert torch.equal(weights_of(model), weights_of(undisturbed))


def test_a_training_stopped_in_dvcs_copy_of_the_project_says_that_it_starts_over(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc/tmp/exps/tmpx"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert str(Interrupts().stopped(7, 30)) == (
        "stopped after step 7 of 30; DVC deletes this copy of the project with its checkpoint, so the experiment starts over "
        "when it runs again"
    )


@pytest.fixture
def left_behind(tiny_bert, tmp_path, kill_at):
    """Folder of a training that was killed after step 5, with the checkpoint of step 4."""
    kill_at(5)
    with pytest.raises(Killed):
        fit(tmp_path, tiny_bert)
    kill_at(None)
    return tmp_path / "checkpoints"


def test_only_the_newest_checkpoint_is_kept(left_behind):
    assert [path.name for path in (left_behind / "key").iterdir()] == ["checkpoint-4"]


@BOTH
def test_without_room_for_a_checkpoint_the_previous_one_is_kept(tiny_bert, tmp_path, engine, monkeypatch):
    """A limit on the size of files simulates a full disk: both fail in the middle of a file."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def after_step(self, *values):
        original(self, *values)
        if self.progress.step == 5:
            resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))

    original = Fit.after_step
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "due", lambda _: True)
        patched.setattr(Fit, "after_step", after_step)
        try:
            with pytest.raises(OSError, match=".") as caught:
                fit(tmp_path, tiny_bert, engine=engine)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "no room to write" in file_problem(caught.value)
    assert Checkpoints("key", tmp_path / "checkpoints").latest().name == "checkpoint-4"
    model, _ = fit(tmp_path, tiny_bert, engine=engine)
    undisturbed, _ = fit(tmp_path / "undisturbed", tiny_bert, engine=engine)
    assert torch.equal(weights_of(model), weights_of(undisturbed))


def test_an_incomplete_checkpoint_is_ignored_with_one_line(left_behind, tiny_bert, tmp_path, capsys):
    weights = left_behind / "key/checkpoint-4/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    capsys.readouterr()
    _, training = fit(tmp_path, tiny_bert)
    lines = [line for line in capsys.readouterr().out.splitlines() if not line.startswith("epoch")]
    assert lines == [f"ignored {left_behind / 'key/checkpoint-4'}: it was cut short"]
    assert training.progress.step == 30


def test_a_checkpoint_without_its_completion_file_is_ignored(left_behind, capsys):
    (left_behind / "key/checkpoint-4/complete.json").unlink()
    assert Checkpoints("key", left_behind).latest() is None
    assert "it was cut short" in capsys.readouterr().out


def test_checkpoints_of_other_code_or_parameters_are_ignored_with_one_line(left_behind, capsys):
    assert Checkpoints("other", left_behind).latest() is None
    assert capsys.readouterr().out == (
        f"ignored 1 checkpoint in {left_behind} of other data, code, parameters or model; "
        f"`rm -r {left_behind / 'key'}` frees their space\n"
    )
    assert (left_behind / "key/checkpoint-4").is_dir()


def test_a_second_training_in_the_same_folder_says_that_it_waits_and_then_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("finetune.training.checkpoints.PATIENCE", 0.1)
    lock = Checkpoints("key", tmp_path).lock()
    assert capsys.readouterr().out == ""
    with pytest.raises(UserError, match="another training is running in this folder"):
        Checkpoints("key", tmp_path).lock()
    assert (
        capsys.readouterr().out == "another training is running in this folder; waiting up to 0.1 seconds for its end\n"
    )
    lock.release()
    Checkpoints("key", tmp_path).lock().release()


def test_checkpoints_take_a_small_share_of_the_time(tmp_path):
    """A checkpoint that took 2 s to write makes the next one due after 100 s; a fast one, after 20 s."""
    checkpoints = Checkpoints("key", tmp_path)
    now = time.monotonic()
    checkpoints.cost = 2.0
    checkpoints.written = now - 99
    assert not checkpoints.due()
    checkpoints.written = now - 101
    assert checkpoints.due()
    checkpoints.cost, checkpoints.written = 0.01, now - 19
    assert not checkpoints.due()


def test_compiled_files_and_swap_files_change_no_key_and_code_does(workdir):
    (workdir / "code").mkdir()
    (workdir / "code/module.py").write_text("one = 1\n")
    (workdir / "dvc.yaml").write_text("stages: {train: {cmd: x, deps: [code]}}\n")
    shutil.copy(ROOT / ".dvcignore", ".dvcignore")
    key = stage_key("train", lr=0.1)
    for name in ("__pycache__/module.cpython-311.pyc", "module.pyc", ".module.py.swp", "module.py~", ".DS_Store"):
        (workdir / "code" / name).parent.mkdir(exist_ok=True)
        (workdir / "code" / name).write_bytes(b"x")
    assert stage_key("train", lr=0.1) == key
    assert stage_key("train", lr=0.2) != key
    (workdir / "code/module.py").write_text("one = 2\n")
    assert stage_key("train", lr=0.1) != key
