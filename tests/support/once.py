"""Work that all test processes need and one of them does."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Folder that `make(folder)` fills in the first process that asks; the others wait, and must not change it."""
    base = factory.getbasetemp()
    # Every process of pytest-xdist has a folder of its own inside the folder of the run.
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
    done = folder.with_suffix(".done")
    with FileLock(folder.with_suffix(".lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)  # a failed attempt
            make(folder)
            done.touch()
    return folder
