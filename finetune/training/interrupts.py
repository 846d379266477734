"""Requests to stop, checked between two steps: Ctrl-C, or SIGTERM, which also says that DVC has ended (base/parent.py)."""

import signal
import sys
import threading

from finetune.base.errors import Stopped
from finetune.base.files import original_project
from finetune.base.terminal import say


class Interrupts:
    """Block in which a first Ctrl-C or SIGTERM is only noted and a second one stops at once."""

    NOTED = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.received: int | None = None
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
        """Whether to stop, because a signal came."""
        return self.received is not None

    def stopped(self, step: int, steps: int) -> Stopped:
        """Error that ends the stage once its checkpoint is written."""
        number = self.received or signal.SIGTERM  # another process was asked to stop
        if original_project():
            then = "DVC deletes this copy of the project with its checkpoint, so the experiment starts over when it runs again"
        else:
            then = "`dvc repro` resumes from there"
        return Stopped(f"stopped after step {step} of {steps}; {then}", 128 + number)
