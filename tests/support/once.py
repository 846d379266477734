"""Work that all test processes need and only one of them does."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Folder filled once by `make(folder)`, in the first process that calls this; the others wait. Do not change it."""
    base = factory.getbasetemp()
    # Each process of pytest-xdist has its own folder inside the folder of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # a failed attempt
            make(folder)
            done.touch()
    return folder
