"""Requests to stop, noticed between two steps: Ctrl-C, SIGTERM, or the death of the process that started this one."""

import os
import signal
import sys
import threading

from finetune.base.errors import Stopped


class Interrupts:
    """Block in which a first Ctrl-C or SIGTERM only leaves a note; a second one stops at once."""

    NOTED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.received: int | None = None
        self.parent = os.getppid()
        self.before = {}

    def __enter__(self) -> "Interrupts":
        # Python allows handlers in the main thread alone.
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.note) for number in self.NOTED}
        return self

    def __exit__(self, *_):
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def note(self, number: int, _):
        self.received = number
        print("stopping after this step; once more stops at once and loses it", file=sys.stderr)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def asked(self) -> bool:
        """Whether to stop. A `dvc repro` that was killed leaves its stage without a parent: nobody would track its outputs."""
        return self.received is not None or os.getppid() != self.parent

    def stopped(self, step: int, steps: int) -> Stopped:
        """The error that ends the stage after its checkpoint was written."""
        number = self.received or signal.SIGTERM
        return Stopped(f"stopped after step {step} of {steps}; `dvc repro` resumes from there", 128 + number)
