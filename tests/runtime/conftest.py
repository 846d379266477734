"""The exported folder that the tests of the model without torch share."""

from pathlib import Path

import pytest

from tests.support.once import made_once
from tests.support.random_export import random_export


@pytest.fixture(scope="session")
def shipped(tmp_path_factory) -> Path:
    """A tiny exported folder whose texts are cut at head and tail to 12 tokens; tests must not change it."""

    def make(folder: Path):
        random_export(folder / "export", truncation="head_tail", max_length=12)

    return made_once(tmp_path_factory, "runtime", make) / "export"
