"""A copy of the exported folder answers as the card shows with nothing installed but onnxruntime, tokenizers and numpy."""

import json
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from finetune.export.card import model_card
from finetune.runtime.classifier import FP32, INT8, Classifier
from tests.conftest import ROOT
from tests.export.test_card import EXPORT, with_metrics
from tests.support.random_export import NAMES
from tests.support.tiny import reviews

NEEDED = ("numpy", "onnxruntime", "tokenizers")
TEXTS = [*(row["text"] for row in reviews(12, seed=9)), "好 film", ""]  # most longer than the 12 tokens they are cut to


def pinned(names: tuple[str, ...]) -> list[str]:
    """Requirements on the versions that the project pins."""
    lines = [line for file in sorted(ROOT.glob("requirements*.txt")) for line in file.read_text().splitlines()]
    found = {line for line in lines if line.split("==")[0] in names}
    assert len(found) == len(names)  # one version each
    return sorted(found)


def block_of(card: str) -> str:
    """The Python block of a card that needs no torch."""
    blocks = re.findall(r"^```python\n(.*?)^```$", card, re.DOTALL | re.MULTILINE)
    found = [block for block in blocks if "onnxruntime" in block]
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory) -> Path:
    """Python of an environment with nothing but the three libraries and what they need themselves."""
    folder = tmp_path_factory.mktemp("standalone") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    # With this environment's pip: installing another one takes longer than the rest.
    pins = [option for name in ("requirements.txt", "constraints.txt") for option in ("-c", ROOT / name)]
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run([*command, *pinned(NEEDED), *pins], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


@pytest.mark.parametrize("kept", [True, False])
def test_the_card_s_own_lines_answer_as_the_classifier_does(bare_python, shipped, tmp_path, kept):
    """The block runs unchanged, apart from its texts, in a copy of the folder."""
    copy = shutil.copytree(shipped, tmp_path / "copy")
    if not kept:
        (copy / INT8).unlink()
    sizes = {name: size for name, size in EXPORT["megabytes"].items() if kept or name != "int8"}
    block = block_of(model_card(with_metrics(export=EXPORT | {"megabytes": sizes})))
    assert str(INT8 if kept else FP32) in block
    own = 'texts = ["your text", "another one"]'
    assert own in block
    more = (
        "from importlib.util import find_spec\n"
        "print([name for name in ('torch', 'transformers', 'finetune') if find_spec(name)])\n"
        "print(json.dumps(probabilities.tolist()))\n"
    )
    (tmp_path / "card.py").write_text(block.replace(own, f"texts = {TEXTS!r}") + more, encoding="utf-8")
    command = [bare_python, "-I", tmp_path / "card.py"]
    done = subprocess.run(command, cwd=copy, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    *shown, others, answers = done.stdout.splitlines()
    assert others == "[]"
    classifier = Classifier(copy, threads=1)
    assert max(len(ids) for ids in classifier.encode(TEXTS)) == 12
    found = classifier.probabilities(TEXTS)
    assert np.abs(np.array(json.loads(answers)) - found).max() < 1e-6
    assert shown == [
        f"{NAMES[row.argmax()]} {round(float(row.max()), 4)} {text}" for row, text in zip(found, TEXTS, strict=True)
    ]


def test_the_command_runs_there_too(bare_python, shipped, tmp_path):
    """With a copy of the package next to the folder: `finetune.predict` needs no more for texts and pipes."""
    shutil.copytree(ROOT / "finetune", tmp_path / "finetune", ignore=shutil.ignore_patterns("__pycache__"))
    command = [bare_python, "-m", "finetune.predict", "--model", shipped]
    found = subprocess.run(command, input=TEXTS[0].encode(), cwd=tmp_path, capture_output=True, env={}, check=False)
    assert found.returncode == 0, found.stderr
    answer = json.loads(found.stdout)
    row = Classifier(shipped, threads=1).probabilities(TEXTS[:1])[0]
    assert list(answer["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-5)
