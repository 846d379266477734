"""How every program here starts and ends."""

import subprocess
import sys

from tests.conftest import ROOT


def test_garbage_is_not_searched_for_while_a_stage_imports_and_is_searched_for_while_it_works(tmp_path):
    package = tmp_path / "stages"
    package.mkdir()
    (package / "__init__.py").write_text((ROOT / "stages/__init__.py").read_text(encoding="utf-8"), encoding="utf-8")
    (package / "one.py").write_text(
        "import gc\nfrom finetune.errors import run\nprint(gc.isenabled())\nrun(lambda: print(gc.isenabled()))\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "stages.one"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "False\nTrue\n"
