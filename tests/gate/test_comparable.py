"""The gate and the report give no verdict where the test rows or the labels of two revisions differ."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from finetune.report.against import against_section
from finetune.results.comparable import why_not_comparable
from finetune.results.revisions import Revision
from tests.support.project import PARAMS

LABELS = {"negative": {"rows": 500}, "positive": {"rows": 500}}
HERE = "workspace"


def git(*arguments: str):
    """A Git command, whatever the machine's settings are."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *arguments], capture_output=True, check=True)


def gate(*arguments: str) -> subprocess.CompletedProcess:
    """The command."""
    command = [sys.executable, "-m", "finetune.gate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def write(accuracy: float = 0.9, *, raw: str = "1", params: dict = PARAMS, ran: bool = True, **test):
    """What a run leaves in Git: metrics/test.json, params.yaml, and dvc.lock if DVC `ran` it, with the checksum `raw`."""
    around = {"low": accuracy - 0.02, "high": accuracy + 0.02}
    content = {"accuracy": accuracy, "rows": 1000, "interval": around, "per_class": LABELS} | test
    with open("metrics/test.json", "w", encoding="utf-8") as file:
        json.dump(content, file)
    with open("params.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(params, file)
    if not ran:
        return
    stages = {
        name: {"params": {"params.yaml": {section: params[section]}}}
        for name, section in (("download", "data"), ("tokenize", "split"))
    }
    stages["download"]["outs"] = [{"path": "data/raw", "md5": raw}]
    with open("dvc.lock", "w", encoding="utf-8") as file:
        yaml.safe_dump({"schema": "2.0", "stages": stages}, file)


def with_split(**changed) -> dict:
    """Parameters with another split."""
    return PARAMS | {"split": PARAMS["split"] | changed}


def with_data(**changed) -> dict:
    """Parameters with other data."""
    return PARAMS | {"data": PARAMS["data"] | changed}


@pytest.fixture(params=[True, False], ids=["digest", "no digest"])
def branch(request, workdir, monkeypatch):
    """A branch that left main after a run; whether that run wrote the digest of its test rows."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (workdir / "metrics").mkdir()
    git("init", "-q", "-b", "main")
    write(**({"rows_digest": "a" * 16} if request.param else {}))
    git("add", "-A")
    git("commit", "-q", "-m", "Run")
    git("checkout", "-q", "-b", "other")
    return request.param


OTHERS = {
    "labels": (
        {"per_class": {"bad": {"rows": 500}, "good": {"rows": 500}}},
        "the labels differ (negative, positive at main, bad, good at workspace)",
    ),
    "data": (
        {"raw": "2", "params": with_data(uri="data/local/tickets.csv")},
        "the test rows differ: the data are data/local/reviews.csv at main and data/local/tickets.csv at workspace",
    ),
    "content of the same file": (
        {"raw": "2"},
        "the test rows differ: data/local/reviews.csv holds other data at main than at workspace",
    ),
    "subset": (
        {"rows": 500, "params": with_split(test_rows=500)},
        "the test rows differ: the same source gave another subset (split.test_rows is null at main and 500 at workspace)",
    ),
    "seed of the split": (
        {"params": with_split(seed=1)},
        "the test rows differ: the same source gave another subset (split.seed is 42 at main and 1 at workspace)",
    ),
    "number of rows": ({"rows": 999}, "the test rows differ: 1000 at main and 999 at workspace"),
    "rows of a label": (
        {"per_class": {"negative": {"rows": 499}, "positive": {"rows": 501}}},
        "the test rows differ: other texts or other labels at workspace than at main",
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_other_rows_or_labels_are_found_and_the_reason_is_one_line(branch, what):
    changed, reason = OTHERS[what]
    write(0.7, **({"rows_digest": "b" * 16} if branch else {}), **changed)
    assert why_not_comparable(Revision("main"), Revision()) == reason


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"ran": False},
        {"params": PARAMS | {"train": PARAMS["train"] | {"lr": 1.0}}},
        {"params": PARAMS | {"tokenize": {"max_length": 8, "truncation": "head"}}},
        {"params": with_split(train_rows=80)},
    ],
)
def test_another_training_on_the_same_rows_is_compared(branch, changed):
    write(0.7, **({"rows_digest": "a" * 16} if branch else {}), **changed)
    assert why_not_comparable(Revision("main"), Revision()) is None


def test_more_training_rows_are_compared_where_the_digest_shows_the_same_test_rows(branch):
    write(0.7, raw="2", **({"rows_digest": "a" * 16} if branch else {}))
    assert (why_not_comparable(Revision("main"), Revision()) is None) == branch


def test_without_a_digest_the_row_ids_of_the_predictions_decide(branch):
    """A seed that happens to draw the same rows, and one that does not."""
    if branch:
        pytest.skip("the digest decides")
    for ids, same in (([3, 1, 2], True), ([3, 1, 4], False)):
        base, head = Revision("main"), Revision()
        write(0.7, params=with_split(seed=1))
        for revision, rows in ((base, [1, 2, 3]), (head, ids)):
            logits = pa.array(list(np.zeros((3, 2))))
            revision._predictions = pa.table({"row": rows, "label": [0] * 3, "predicted": [0] * 3, "logits": logits})
        assert (why_not_comparable(base, head) is None) == same


def test_the_gate_gives_no_verdict_says_why_and_still_looks_at_the_thresholds(branch):
    for accuracy, holds in ((0.9999, "holds"), (0.2, "falls short")):
        write(
            accuracy,
            raw="2",
            params=with_data(uri="data/local/tickets.csv"),
            **({"rows_digest": "b" * 16} if branch else {}),
        )
        done = gate("--against", "main", "--markdown", "page.md")
        assert done.returncode == 2  # it could not tell, which is neither 0 nor 1
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        assert [line.endswith(holds) for line in lines if line.startswith("test.accuracy")] == [True]
        said = [
            line for line in lines if line.startswith("No verdict on any metric: the test rows differ: the data are")
        ]
        assert len(said) == 1
        assert not any(word in done.stdout for word in ("better", "worse", "within noise"))
        assert "data.uri" in done.stdout  # the settings that differ are listed
        with open("page.md", encoding="utf-8") as file:
            page = file.read()
        assert page.startswith("# The gate could not tell\n")
        assert "No verdict on any metric" in page


def test_the_report_gives_no_verdict_either_and_draws_no_curve_of_the_test_rows_together(branch):
    write(0.7, rows=500, params=with_split(test_rows=500), **({"rows_digest": "b" * 16} if branch else {}))
    section = against_section(Revision("main"), Revision(), ["negative", "positive"])
    assert section["sentence"].startswith(
        "No verdict on any metric: the test rows differ: the same source gave another"
    )
    assert section["differences"] == []
    assert section["curves"] == []
    assert section["rows"] == {"missing": "Rows cannot be compared: they are not the same."}


def test_scores_before_and_after_calibration_are_not_mixed_up(workdir, monkeypatch):
    """The older layout of metrics/test.json had the scores before scaling first; what shipped is compared with what ships.

    Logits 4 apart, three of four rows right, temperature 4 / ln 3: log loss 0.5623 after scaling, 1.0181 before it.
    """
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (workdir / "metrics").mkdir()
    git("init", "-q", "-b", "main")
    temperature = round(float(4 / np.log(3)), 6)
    before, after = (
        {"log_loss": 1.01815, "brier": 0.241, "ece": 0.232},
        {"log_loss": 0.562335, "brier": 0.1875, "ece": 0.0},
    )
    write(
        0.75,
        rows=4,
        per_class={"negative": {"rows": 1}, "positive": {"rows": 3}},
        **before,
        calibration={"temperature": temperature} | after,
        intervals={"ece": {"low": 0.2, "high": 0.3}, "f1": {"low": 0.5, "high": 0.7}},
    )
    git("add", "-A")
    git("commit", "-q", "-m", "An older run")
    old = Revision("HEAD")
    assert {name: old.metrics()["test"][name] for name in after} == after
    assert old.metrics()["test"]["calibration"]["uncalibrated"] == before
    assert set(old.metrics()["test"]["intervals"]) == {"f1"}
    logits = pa.array([[4.0, 0.0], [0.0, 4.0], [0.0, 4.0], [4.0, 0.0]])
    table = pa.table({"row": [0, 1, 2, 3], "label": [0, 1, 1, 1], "predicted": [0, 1, 1, 0], "logits": logits})
    (workdir / "data/predictions").mkdir(parents=True)
    pq.write_table(table, workdir / "data/predictions/test.parquet")
    shipped = Revision().predictions()
    assert shipped is not None
    assert shipped.column("logits")[0].as_py() == pytest.approx([np.log(3), 0.0], abs=1e-5)


def test_a_model_that_is_badly_calibrated_before_scaling_and_well_after_it_passes(workdir):
    (workdir / "metrics").mkdir()
    params = PARAMS | {"gate": {"test.ece": {"max": 0.1}, "test.log_loss": {"max": 0.6}}}
    before = {"log_loss": 1.2, "brier": 0.4, "ece": 0.335}
    scores = {"log_loss": 0.5, "brier": 0.2, "ece": 0.095}
    new = {"calibration": {"temperature": 3.0, "uncalibrated": before}}
    write(params=params, **scores, **new)
    done = gate()
    assert (done.returncode, done.stdout.count(" holds")) == (0, 2)
    # The same run in the older layout, and a model that stays badly calibrated.
    write(params=params, **before, calibration={"temperature": 3.0} | scores)
    assert gate().returncode == 0
    write(params=params, **before, calibration={"temperature": 3.0, "uncalibrated": scores})
    done = gate()
    assert (done.returncode, done.stdout.count("falls short")) == (1, 2)
