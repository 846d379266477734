"""Work beside a stage's imports: torch and transformers take five seconds of one core, in which another has nothing to do."""

import contextlib
import gc
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from finetune.base.errors import UserError


@contextlib.contextmanager
def beside(module: str, *arguments: str) -> Iterator[Callable[[], Path]]:
    """Block beside which `python -m module *arguments FILE` runs on one core; the function it gets waits for that FILE.

    The function raises UserError when the process failed. What still runs at the end of the block is stopped, after
    Ctrl-C too, which only this process hears. To be called from the main thread.
    """
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "output"
        one_core = os.environ | {"OMP_NUM_THREADS": "1"}  # another is for what runs beside it
        heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a process starts as deaf to Ctrl-C as this one then is
        try:
            process = subprocess.Popen([sys.executable, "-m", module, *arguments, str(output)], env=one_core)
        finally:
            signal.signal(signal.SIGINT, heard)

        def result() -> Path:
            if process.wait():
                raise UserError(f"{module} ended with status {process.returncode}; what it said stands above")
            return output

        try:
            yield result
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Block of imports that take seconds: no search for garbage among what they make, now or later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
