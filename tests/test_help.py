"""Every command answers `--help`, and does nothing else then."""

import runpy
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
    f"finetune.{name}" for name in ("recipe", "seeds", "gate", "report", "predict", "serve", "publish", "share")
)


def status(module: str, argument: str, monkeypatch) -> int:
    """Exit status of `python -m module argument`, run in this process: torch and transformers are imported once for all."""
    monkeypatch.setattr(sys, "argv", [module, argument])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return ended.value.code


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import of package:RuntimeWarning")
@pytest.mark.parametrize("module", WITHOUT_OPTIONS + WITH_OPTIONS)
def test_help_is_one_screen(workdir, module, monkeypatch, capsys):
    assert status(module, "--help", monkeypatch) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: python -m {module} ")
    assert len(shown.splitlines()) <= 50
    assert list(workdir.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import of package:RuntimeWarning")
@pytest.mark.parametrize("module", WITHOUT_OPTIONS)
def test_an_unknown_argument_is_an_error(workdir, module, monkeypatch, capsys):
    assert status(module, "--nonsense", monkeypatch) == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err
    assert list(workdir.iterdir()) == []


def test_a_command_line_starts_nothing_else(workdir):
    done = subprocess.run(
        [sys.executable, "-m", "finetune.learning_curve", "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: python -m finetune.learning_curve ")
    assert list(workdir.iterdir()) == []
