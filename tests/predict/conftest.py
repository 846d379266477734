"""The exported folder that the tests of the command share."""

from pathlib import Path

import pytest

from tests.support.once import made_once
from tests.support.random_export import random_export


@pytest.fixture(scope="session")
def shipped(tmp_path_factory) -> Path:
    """A tiny exported folder; tests must not change it."""
    return made_once(tmp_path_factory, "predict", lambda folder: random_export(folder / "export")) / "export"
