"""Requests to stop, checked between two steps: Ctrl-C, SIGTERM, or the end of the parent process."""

import os
import signal
import sys
import threading

from finetune.base.errors import Stopped
from finetune.base.terminal import say


class Interrupts:
    """Block in which a first Ctrl-C or SIGTERM is only noted and a second one stops at once."""

    NOTED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.received: int | None = None
        self.parent = os.getppid()
        self.before = {}

    def __enter__(self) -> "Interrupts":
        # Only the main thread may set signal handlers.
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.note) for number in self.NOTED}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, _):
        self.received = number
        say("stopping after this step; press Ctrl-C again to stop now and lose it", sys.stderr)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Whether to stop: a signal came, or the parent process ended (a killed `dvc repro` would not track the outputs)."""
        return self.received is not None or os.getppid() != self.parent

    def stopped(self, step: int, steps: int) -> Stopped:
        """Error that ends the stage once its checkpoint is written."""
        number = self.received or signal.SIGTERM
        return Stopped(f"stopped after step {step} of {steps}; `dvc repro` resumes from there", 128 + number)
