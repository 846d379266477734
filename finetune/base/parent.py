"""A stage ends with the process that started it: if it went on, it would write into the outputs of the next run.

DVC runs a stage through a shell. bash and today's dash replace themselves with the stage, other shells wait for it. So a
stage watches itself and every shell between it and DVC.
"""

import contextlib
import itertools
import os
import signal
import sys
import threading
import time

import psutil

from finetune.base.terminal import say

SHELLS = {"sh", "dash", "ash", "bash", "zsh", "ksh", "fish", "csh", "tcsh"}
STARTED_BY = ("DVC_STAGE", "RANK")  # set by DVC for a stage, and by torchrun for each of its processes
SECONDS = 0.2  # between two looks
GRACE = 60.0  # seconds for a training to save its checkpoint; other stages end at once


def end_with_parent():
    """Watches, in a thread, for the end of the DVC or torchrun that started this process; does nothing without them.

    A stage that was started by hand goes on when its terminal closes, if `nohup` or `disown` protects it.
    """
    if any(name in os.environ for name in STARTED_BY):
        threading.Thread(target=watch, args=(ancestors(),), daemon=True).start()


def ancestors() -> list[int]:
    """Process numbers from this process up to the one that started it: [this, shell, DVC], or [this, DVC]."""
    numbers = [os.getpid(), os.getppid()]
    try:
        while psutil.Process(numbers[-1]).name() in SHELLS:
            numbers.append(psutil.Process(numbers[-1]).ppid())
    except psutil.Error:  # it has just ended, which the first look finds out, or belongs to somebody else
        pass
    return numbers


def orphaned(numbers: list[int]) -> bool:
    """Whether a process of `ancestors` has another parent now, because its own has ended."""
    if os.getppid() != numbers[1]:
        return True
    try:
        return any(psutil.Process(child).ppid() != parent for child, parent in itertools.pairwise(numbers[1:]))
    except psutil.NoSuchProcess:
        return True


def watch(numbers: list[int]):
    """Ends this process by SIGTERM, which a training answers with a checkpoint, as soon as its parent has ended."""
    while not orphaned(numbers):
        time.sleep(SECONDS)
    with contextlib.suppress(OSError, ValueError):  # the terminal may be gone too
        say("stopped, because the process that started this one has ended", sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os.kill(os.getpid(), signal.SIGKILL)
