"""One training of a search or of a list of variations: a DVC experiment outside the workspace, watched while it runs, and ended early if it is bad."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from finetune.base.errors import UserError
from finetune.results.experiments import experiment_arguments, experiment_names
from finetune.training.watched import SCORES_FILE, read_scores

FOLDER = Path("search")  # Git ignores it
LOGS = FOLDER / "logs"
SECONDS = 0.2  # between two looks at a training
GRACE = 60  # seconds for a stage to end on request


class Failed(Exception):
    """A training that ended with an error; the message is its line."""


class Pruned(Exception):
    """A training that was ended because its validations are bad."""


def ensure_experiment(
    name: str, settings: dict, is_bad: Callable[[list[dict]], bool] | None = None, more: tuple[str, ...] = ()
):
    """Runs the DVC experiment of this name with these dotted parameters, unless it exists.

    `is_bad` gets the validations so far (`read_scores`) whenever there is a new one. Its output goes to search/logs/.
    `more` are options for `dvc exp run`.
    Raises Failed, or Pruned if `is_bad` said so; neither leaves an experiment or a copy of the project behind.
    """
    if name in experiment_names():
        return
    LOGS.mkdir(parents=True, exist_ok=True)
    log, scores = LOGS / f"{name}.log", (LOGS / f"{name}.scores").resolve()
    scores.unlink(missing_ok=True)
    command = [sys.executable, "-m", "finetune.search.dvc_process", *experiment_arguments(name, settings), *more]
    with log.open("wb") as output:
        dvc = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=os.environ | {SCORES_FILE: str(scores)}
        )
        try:
            pruned = watched(dvc, scores, is_bad)
        finally:  # also after Ctrl-C
            while dvc.poll() is None:
                end_stages(dvc.pid)
                time.sleep(SECONDS)
    scores.unlink(missing_ok=True)
    if pruned:
        raise Pruned
    if dvc.returncode and name not in experiment_names():
        raise Failed(last_line(log))


def watched(dvc: subprocess.Popen, scores: Path, is_bad: Callable[[list[dict]], bool] | None) -> bool:
    """Waits for the end of DVC, or for validations that are bad; whether they were."""
    seen = 0
    while dvc.poll() is None:
        validations = read_scores(scores)
        if len(validations) > seen:
            seen = len(validations)
            if is_bad and is_bad(validations):
                return True
        time.sleep(SECONDS)
    return False


def end_stages(pid: int):
    """Ends the stage that the DVC of this process number runs, if any. DVC then fails and removes its copy of the project."""
    try:
        stages = [child for child in psutil.Process(pid).children(recursive=True) if is_stage(child)]
    except psutil.NoSuchProcess:
        return
    for stage in stages:
        with contextlib.suppress(psutil.NoSuchProcess):
            stage.terminate()
    for stage in psutil.wait_procs(stages, GRACE)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            stage.kill()


def is_stage(process: psutil.Process) -> bool:
    """Whether DVC started this process as a stage, and not as a helper of its own such as Git."""
    try:
        return "DVC_STAGE" in process.environ()
    except psutil.Error:
        return False


def last_line(log: Path) -> str:
    """The line of a log that says what went wrong: the last one of a stage's own, else the last of all."""
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith("error: ")]
    return (ours or lines or ["it ended without a word"])[-1].removeprefix("error: ").removeprefix("ERROR: ")


def check_experiment(name: str, settings: dict):
    """As `ensure_experiment`; raises UserError where it fails."""
    try:
        ensure_experiment(name, settings)
    except Failed as error:
        raise UserError(f"the experiment {name} failed: {error}; its output is in {LOGS / f'{name}.log'}") from None
