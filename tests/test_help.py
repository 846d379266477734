"""Every command answers `--help`, and does nothing else then."""

import re
import runpy
import subprocess
import sys

import pytest

from tests.conftest import ROOT

STAGES = tuple(f"stages.{path.stem}" for path in sorted((ROOT / "stages").glob("[!_]*.py")))
WITHOUT_OPTIONS = (
    *STAGES,
    "finetune.preflight",
    "finetune.summary",
    "finetune.learning_curve",
    "finetune.plots_page",
)
WITH_OPTIONS = tuple(
    f"finetune.{name}"
    for name in (
        "recipe",
        "seeds",
        "cross_validation",
        "gate",
        "report",
        "search",
        "variations",
        "predict",
        "serve",
        "publish",
        "share",
    )
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
@pytest.mark.parametrize("module", WITHOUT_OPTIONS + WITH_OPTIONS)
def test_an_unknown_argument_ends_in_one_line(workdir, module, monkeypatch, capsys):
    assert status(module, "--nonsense", monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match("error: (unrecognized arguments: --nonsense|the following arguments are required: )", line)
    assert line.endswith(f"`python -m {module} --help` lists what is allowed")
    assert list(workdir.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.*found in sys.modules after import of package:RuntimeWarning")
def test_a_wrong_argument_is_quoted_in_one_printable_line_of_bounded_length(monkeypatch, capsys):
    assert status("finetune.serve", "--port=\x1b[31m\n::error::\u202e" + "9" * 5_000, monkeypatch) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(r"error: argument --port: invalid whole number value: '\x1b[31m\n::error::\u202e999")
    assert line.isprintable()
    assert len(line) <= 1_000


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
