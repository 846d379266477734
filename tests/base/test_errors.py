"""How every program here starts and ends."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.base.errors import run
from tests.conftest import ROOT


def test_garbage_is_not_searched_for_while_a_stage_imports_and_is_searched_for_while_it_works(tmp_path):
    package = tmp_path / "stages"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "stages/__init__.py").read_text(encoding="utf-8"), encoding="utf-8")
    (package / "one.py").write_text(
        "import gc\nfrom finetune.base.errors import run\nprint(gc.isenabled())\nrun(lambda: print(gc.isenabled()))\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "stages.one"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "False\nTrue\n"


def test_ctrl_c_among_the_imports_of_a_stage_ends_it_without_a_traceback(tmp_path):
    """With -X importtime Python tells each module that it has imported; those of torch take a second and more."""
    command = [sys.executable, "-X", "importtime", "-m", "stages.train"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as stage:
        next(line for line in stage.stderr if "torch." in line)
        stage.send_signal(signal.SIGINT)
        said = stage.stderr.read()
    assert stage.returncode == -signal.SIGINT
    assert [line for line in said.splitlines() if not line.startswith("import time:")] == []


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("tokenize", "models/base"),
        ("baseline_eval", "data/tokenized"),
        ("train", "data/tokenized/train.parquet"),
        ("evaluate", "data/tokenized"),
        ("export", "metrics/data.json"),
    ],
)
def test_a_stage_without_its_inputs_names_the_first_in_one_line(stage, missing, tmp_path):
    """A folder that is not there, transformers would ask the Hub for: here for most of a minute, elsewhere with an answer."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    command = [sys.executable, "-m", f"stages.{stage}"]
    failed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert failed.returncode == 1
    assert (
        failed.stderr == f"error: {missing} is not there; run `dvc repro`, which makes it or takes it from the cache\n"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["params.yaml"]


def test_a_file_that_no_stage_makes_keeps_its_traceback():
    """Then the mistake is ours."""
    with pytest.raises(FileNotFoundError):
        run(lambda: Path("nonesuch/file").read_text(encoding="utf-8"))
