"""The gate: holds, falls short, or cannot tell."""

import json
import subprocess
import sys

import pytest
import yaml

from finetune.gate import CANNOT_TELL, FALLS_SHORT, HOLDS, check
from finetune.metrics import look_up
from finetune.params import Threshold
from tests.project import PARAMS

METRICS = {
    "test": {
        "accuracy": 0.82,
        "gain": {"low": 0.02},
        "name": "x",
        "nan": float("nan"),
        "per_class": {"v1.0": {"f1": 0.7}},
    }
}


@pytest.mark.parametrize(
    ("key", "threshold", "status", "words"),
    [
        ("test.accuracy", {"min": 0.82}, HOLDS, ["0.82", "at least 0.82", "holds"]),
        ("test.accuracy", {"min": 0.83}, FALLS_SHORT, ["0.82", "at least 0.83", "falls short"]),
        ("test.accuracy", {"max": 0.8}, FALLS_SHORT, ["at most 0.8", "falls short"]),
        ("test.accuracy", {"min": 0.8, "max": 0.9}, HOLDS, ["at least 0.8 and at most 0.9"]),
        ("test.gain.low", {"min": 0}, HOLDS, ["0.02"]),
        ("test.per_class.v1.0.f1", {"min": 0.6}, HOLDS, ["0.7"]),
        ("test.recall", {"min": 0.8}, CANNOT_TELL, ["-", "missing"]),
        ("other.accuracy", {"min": 0.8}, CANNOT_TELL, ["missing"]),
        ("test.nan", {"min": 0.8}, CANNOT_TELL, ["nan", "not a number"]),
        ("test.name", {"min": 0.8}, CANNOT_TELL, ["x", "not a number"]),
        ("test.gain", {"min": 0.8}, CANNOT_TELL, ["not a number"]),
    ],
)
def test_each_metric_is_held_against_its_threshold(key, threshold, status, words):
    found, table = check(METRICS, {key: Threshold(**threshold)})
    assert found == status
    assert all(word in table.splitlines()[-1] for word in [key, *words])


def test_the_worst_verdict_counts():
    thresholds = {
        "test.accuracy": Threshold(min=0.9),
        "test.recall": Threshold(min=0.1),
        "test.gain.low": Threshold(min=0),
    }
    assert check(METRICS, thresholds)[0] == CANNOT_TELL


def test_a_metric_is_found_by_its_dotted_name():
    assert look_up({"a": {"b.c": {"d": 1}}}, "a.b.c.d") == 1
    assert look_up({"a": {"b": None}}, "a.b") is None


@pytest.mark.parametrize(
    ("accuracy", "gate", "status", "said"),
    [
        (0.9, {"test.accuracy": {"min": 0.8}}, 0, "holds"),
        (0.7, {"test.accuracy": {"min": 0.8}}, 1, "falls short"),
        (0.9, {"test.f1": {"min": 0.8}}, 2, "missing"),
        (0.9, {}, 0, "params.yaml sets no threshold"),
    ],
)
def test_the_command_s_exit_status_tells_the_verdict(workdir, accuracy, gate, status, said):
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_text(json.dumps({"accuracy": accuracy}))
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"gate": gate}))
    done = subprocess.run([sys.executable, "-m", "finetune.gate"], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stdout


def test_a_metrics_file_that_is_no_json_is_named(workdir):
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_text("{")
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    done = subprocess.run([sys.executable, "-m", "finetune.gate"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: metrics/test.json is no JSON")
    assert "git restore metrics/test.json" in done.stderr
