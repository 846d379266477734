"""The stage `baseline_eval`: baselines that cannot work or are switched off are skipped, and every reader copes."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from finetune.base.metric_files import stage_metrics
from finetune.export.card import model_card
from finetune.gate.page import page
from finetune.report.quality import baselines
from finetune.summary import summary
from stages import baseline_eval, tokenize
from tests.export.test_card import FACTS
from tests.stages.test_tokenize import review_rows, write_raw
from tests.support.export_project import TEST
from tests.support.project import PARAMS
from tests.support.tiny import tiny_checkpoint

OTHERS = ["tfidf", "embedding", "untrained", "zero_shot", "few_shot"]


def run_stage(workdir: Path, labels: tuple[str, str], masked: bool, **settings) -> dict:
    """Metrics of the baselines for reviews with these label names."""
    checkpoint = tiny_checkpoint(workdir / "checkpoint", masked=masked)
    write_raw(workdir, checkpoint, review_rows(90), labels=dict(zip(("bad", "good"), labels, strict=True)))
    params = copy.deepcopy(PARAMS)
    params["baseline"] |= settings
    params["baseline"]["zero_shot"]["prompts"] = None
    Path("params.yaml").write_text(yaml.safe_dump(params))
    tokenize.main()
    baseline_eval.main()
    return stage_metrics("baseline")


def columns() -> list[str]:
    return pq.read_table("data/predictions/baseline.parquet").column_names


@pytest.mark.parametrize(
    ("labels", "masked", "reason"),
    [
        (("great film", "great story"), True, "the labels great film and great story begin with the same token"),
        (("差", "好"), False, "the prompts of the labels 差 and 好 have the same tokens"),
    ],
)
def test_a_baseline_that_cannot_work_is_skipped_with_its_reason(workdir, capsys, labels, masked, reason):
    metrics = run_stage(workdir, labels, masked)
    assert metrics["skipped"] == {"zero_shot": reason}
    assert f"skipped zero_shot: {reason}\n" in capsys.readouterr().out
    expected = ["majority", "tfidf", "embedding", "untrained", "few_shot"]
    assert [name for name in metrics if isinstance(metrics[name], dict) and name != "skipped"] == expected
    assert columns() == ["row", "label", *expected]


def test_a_template_without_room_is_skipped_too(workdir):
    template = "{text} " + "it was a film " * 10 + "{label}"
    metrics = run_stage(workdir, ("bad", "good"), True, zero_shot={"template": template})
    assert metrics["skipped"] == {"zero_shot": "baseline.zero_shot.template leaves no room for a text within 32 tokens"}


def test_every_baseline_but_majority_can_be_switched_off(workdir):
    metrics = run_stage(workdir, ("bad", "good"), False, skip=OTHERS)
    assert metrics["skipped"] == dict.fromkeys(OTHERS, "baseline.skip names it")
    assert (metrics["best"], columns()) == ("majority", ["row", "label", "majority"])


def test_without_a_skipped_baseline_nothing_is_added(workdir):
    assert "skipped" not in run_stage(workdir, ("bad", "good"), False)


def test_of_many_training_rows_a_sample_serves_and_every_reader_says_so(workdir, monkeypatch):
    """The sample is of all rows for majority, whose frequencies cost nothing."""
    monkeypatch.setattr(baseline_eval, "TRAIN_SAMPLE", 40)
    metrics = run_stage(workdir, ("bad", "good"), False, skip=["untrained", "zero_shot"])
    assert metrics["train_rows"] == 40
    note = "The baselines learnt from 40 of the training rows, drawn with a seed."
    both = {"test": TEST, "baseline": metrics}
    assert summary(TEST, metrics).endswith(note)
    assert note in page("Holds", [], both)
    assert note in model_card(FACTS._replace(metrics=FACTS.metrics | both))
    assert baselines(both)["skipped"].endswith(note)
    shares = np.bincount(pq.read_table("data/tokenized/train.parquet").column("label").to_numpy(), minlength=2)
    majority = pq.read_table("data/predictions/baseline.parquet").column("majority")[0].as_py()
    assert majority == pytest.approx(shares / shares.sum())


def test_a_sample_that_no_baseline_learns_from_is_not_mentioned(workdir, monkeypatch):
    monkeypatch.setattr(baseline_eval, "TRAIN_SAMPLE", 40)
    assert "train_rows" not in run_stage(workdir, ("bad", "good"), False, skip=["tfidf", "embedding", "few_shot"])


def test_summary_card_gate_and_report_name_what_was_skipped(workdir):
    metrics = run_stage(workdir, ("great film", "great story"), True, skip=["few_shot"])
    reasons = ["baseline.skip names it", "the labels great film and great story begin with the same token"]
    plain = f"Baselines skipped: few_shot ({reasons[0]}), zero_shot ({reasons[1]})."
    quoted = f"Baselines skipped: few_shot (`{reasons[0]}`), zero_shot (`{reasons[1]}`)."
    both = {"test": TEST, "baseline": metrics}
    assert summary(TEST, metrics).endswith(f"\n{plain}")
    assert f"\n\n{quoted}\n\n" in page("Holds", [], both)
    assert f"\n\n{quoted}\n\n" in model_card(FACTS._replace(metrics=FACTS.metrics | both))
    section = baselines(both)
    assert section["skipped"] == plain
    assert [key for key, *_ in section["rows"] if key in ("few_shot", "zero_shot")] == []
    Path("metrics/test.json").write_text(json.dumps(TEST))
    done = subprocess.run([sys.executable, "-m", "finetune.summary"], capture_output=True, text=True, check=True)
    assert plain in done.stdout
