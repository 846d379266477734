"""Every command explains itself and does nothing else when it is asked to."""

import subprocess
import sys

import pytest

COMMANDS = (
    "summary",
    "recipe",
    "seeds",
    "learning_curve",
    "plots_page",
    "gate",
    "report",
    "predict",
    "serve",
    "publish",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_shown_at_once(workdir, command):
    done = subprocess.run(
        [sys.executable, "-m", f"finetune.{command}", "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
    assert list(workdir.iterdir()) == []


@pytest.mark.usefixtures("workdir")
@pytest.mark.parametrize("command", ["summary", "learning_curve", "plots_page"])
def test_an_unknown_argument_is_an_error(command):
    done = subprocess.run(
        [sys.executable, "-m", f"finetune.{command}", "--nonsense"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unrecognized arguments: --nonsense" in done.stderr
