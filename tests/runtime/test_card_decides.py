"""The card's own lines for a model with a decision, run unchanged in a copy of its folder."""

import json
import shutil
import subprocess
import sys

import pytest

from finetune.export.card import model_card
from finetune.predict.answers import answers
from finetune.runtime.classifier import Classifier
from finetune.scoring.decisions import DECISION
from tests.export.test_card import FACTS, LEAST, THRESHOLD, with_metrics
from tests.runtime.test_standalone import block_of
from tests.support.tiny import reviews

TEXTS = [row["text"] for row in reviews(20, seed=9)]


@pytest.mark.parametrize("decision", [LEAST, THRESHOLD | {"threshold": {"label": "good", "probability": 0.1}}])
def test_the_card_s_own_lines_follow_the_decision(learnt, tmp_path, decision):
    copy = shutil.copytree(learnt, tmp_path / "copy")
    (copy / DECISION).write_text(json.dumps(decision))
    block = block_of(model_card(with_metrics(test=FACTS.metrics["test"] | {"decision": decision})))
    (tmp_path / "card.py").write_text(block.replace('texts = ["your text", "another one"]', f"texts = {TEXTS!r}"))
    command = [sys.executable, "-I", tmp_path / "card.py"]
    shown = subprocess.run(command, cwd=copy, capture_output=True, encoding="utf-8", check=True).stdout.splitlines()
    found = answers(Classifier(copy, threads=1), TEXTS)
    assert [line.split()[0] for line in shown] == [str(label) for label in found.labels]
    assert [float(line.split()[1]) for line in shown] == pytest.approx(found.probability, abs=1e-3)
