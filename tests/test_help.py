"""Every command explains itself and does nothing else when it is asked to."""

import subprocess
import sys

import pytest

STAGES = tuple(f"stages.{name}" for name in ("download", "tokenize", "baseline_eval", "train", "evaluate", "export"))
WITHOUT_OPTIONS = (
    *STAGES,
    "finetune.base.params",
    "finetune.summary",
    "finetune.learning_curve",
    "finetune.plots_page",
)
WITH_OPTIONS = tuple(
    f"finetune.{name}" for name in ("recipe", "seeds", "gate", "report", "predict", "serve", "publish")
)


def command(module: str, argument: str) -> subprocess.CompletedProcess:
    """A command with one argument, in the current folder."""
    return subprocess.run(
        [sys.executable, "-m", module, argument], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("module", WITHOUT_OPTIONS + WITH_OPTIONS)
def test_help_is_shown_at_once(workdir, module):
    done = command(module, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m {module} ")
    assert len(done.stdout.splitlines()) <= 50  # a screen
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("module", WITHOUT_OPTIONS)
def test_an_unknown_argument_is_an_error(workdir, module):
    done = command(module, "--nonsense")
    assert done.returncode == 2
    assert "unrecognized arguments: --nonsense" in done.stderr
    assert list(workdir.iterdir()) == []
