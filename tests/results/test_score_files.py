"""Metrics files that are JSON and still no scores: one line for each command, with the file and the key."""

import json
import re
import subprocess
import sys
from importlib import import_module

import pytest
import yaml

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.metric_files import write_metrics
from finetune.results.metrics import read_metrics
from finetune.results.score_files import REPORT, TABLE, check_scores, of_shipped_model
from tests.conftest import ROOT
from tests.support.export_project import METRICS
from tests.support.project import PARAMS

FILES = METRICS | {
    "seeds": {"settings": "1f6a0c3d", "seeds": [1, 2], "accuracy": {"spread": 0.1, "values": [0.7, 0.8]}},
    "search": {
        "settings": "1f6a0c3d",
        "metric": "validation.accuracy",
        "trials": [{"trial": 0, "state": "complete", "value": 0.8, "settings": {"train.lr": 0.1}, "experiment": "a"}],
        "importances": {"train.lr": 1.0},
        "words": ["No setting beat the defaults."],
    },
}


def changed(key: str, value) -> dict:
    """All metrics with one dotted key replaced, or left out where the value is `...`."""
    metrics = json.loads(json.dumps(FILES))
    *parents, last = key.split(".")
    inner = metrics
    for name in parents:
        inner = inner[name]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return metrics


WRONG = {  # key with a wrong value -> what the line says
    "test.accuracy": ("high", "metrics/test.json: accuracy must be a number from 0 to 1, found 'high'; "),
    "test.f1": (float("nan"), "metrics/test.json: f1 must be a number from 0 to 1, found nan; "),
    "test.interval": ([0.7, 0.8], "metrics/test.json: interval must be an object, found a list; "),
    "test.interval.low": (None, "metrics/test.json: interval.low is missing; "),
    "test.gain": (..., "metrics/test.json: gain is missing; "),
    "test.gain.p_value": ("0.01", "metrics/test.json: gain.p_value must be a number from 0 to 1, found '0.01'; "),
    "test.rows": (True, "metrics/test.json: rows must be a whole number of at least 1, found True; "),
    "test.absent": ("a", "metrics/test.json: absent must be a list of printable texts, found 'a'; "),
    "baseline.best": (..., "metrics/baseline.json: best is missing; "),
    "baseline.tfidf": ("good", "metrics/baseline.json: tfidf must be an object, found 'good'; "),
    "baseline.tfidf.accuracy": (84, "metrics/baseline.json: tfidf.accuracy must be a number from 0 to 1, found 84; "),
}
WRONG_IN_THE_REPORT = {
    "test.per_class": (..., "metrics/test.json: per_class is missing; "),
    "test.per_class.a": (3, "metrics/test.json: per_class.a must be an object, found 3; "),
    "test.per_class.a.f1": ("x", "metrics/test.json: per_class.a.f1 must be a number from 0 to 1, found 'x'; "),
    "test.calibration.temperature": (
        0,
        "metrics/test.json: calibration.temperature must be a number above 0, found 0; ",
    ),
    "test.intervals.f1": (1, "metrics/test.json: intervals.f1 must be an object, found 1; "),
    "test.selective.keep_80.rows": (
        "x",
        "metrics/test.json: selective.keep_80.rows must be a whole number of at least 0,",
    ),
    "data.rows.test": ("x", "metrics/data.json: rows.test must be a whole number of at least 0, found 'x'; "),
    "data.tokens": (5, "metrics/data.json: tokens must be an object, found 5; "),
    "train.steps": (None, "metrics/train.json: steps is missing; "),
    "slices.length": ([1], "metrics/slices.json: length must be an object, found a list; "),
    "slices.length.short.accuracy": ("x", "metrics/slices.json: length.short.accuracy must be a number from 0 to 1,"),
    "checks.near_duplicates": (2, "metrics/checks.json: near_duplicates must be an object, found 2; "),
    "search.trials": (
        [{"trial": 0}],
        "metrics/search.json: trials must be a list of trials of one search, found a list; ",
    ),
    "search.importances": ([1], "metrics/search.json: importances must be an object, found a list; "),
    "search.words": ("x", "metrics/search.json: words must be a list of printable texts, found 'x'; "),
    "seeds.accuracy": (0.8, "metrics/seeds.json: accuracy must be an object, found 0.8; "),
}


def write(metrics: dict):
    """The files, and default parameters."""
    for name, content in metrics.items():
        with open(f"metrics/{name}.json", "w", encoding="utf-8") as file:
            json.dump(content, file)
    with open("params.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(PARAMS, file)


@pytest.fixture
def folder(workdir):
    """A folder for metrics."""
    (workdir / "metrics").mkdir()
    return workdir


def test_metrics_as_the_stages_write_them_are_in_order():
    check_scores(FILES, REPORT)
    check_scores(read_metrics(ROOT / "docs/default_run/metrics"), REPORT)


def test_a_baseline_that_was_skipped_with_a_reason_is_no_mistake():
    skipped = changed("baseline.skipped", {"zero_shot": "two labels begin with the same token"})
    del skipped["baseline"]["zero_shot"]
    check_scores(skipped, TABLE)


@pytest.mark.parametrize(
    ("key", "value", "line"), [(key, *case) for key, case in (WRONG | WRONG_IN_THE_REPORT).items()]
)
def test_what_is_wrong_is_named_with_its_file_and_key(key, value, line):
    with pytest.raises(UserError) as caught:
        check_scores(changed(key, value), REPORT)
    name, _, said = line.removeprefix("metrics/").partition(": ")  # no file is there, so which one it is in is open
    assert re.fullmatch(rf"metrics/(detail/\w+/)?{name}: {re.escape(said)}.*", str(caught.value))
    command = "make seeds" if name == "seeds.json" else "dvc repro"  # no stage writes seeds.json
    assert str(caught.value).endswith(f"bring it back with `git restore metrics` or run `{command}`")
    assert "\n" not in str(caught.value)


def test_at_a_revision_the_line_says_which():
    with pytest.raises(UserError, match="^metrics/test.json at main: f1 must be .* found 'x'; run `make repro` there"):
        check_scores(changed("test.f1", "x"), TABLE, "main")


@pytest.mark.usefixtures("folder")
def test_a_key_is_reported_with_the_file_that_has_it_or_should_have_it():
    for name in ("test", "baseline"):
        write_metrics(name, FILES[name])
    headline, detail = "metrics/test.json", "metrics/detail/evaluate/test.json"
    for key, value, file in (
        ("test.per_class", ..., detail),
        ("test.per_class.a.f1", "x", detail),
        ("test.accuracy", ..., headline),
        ("test.gain.low", "x", headline),
        ("baseline.tfidf.f1", "x", "metrics/baseline.json"),
        ("baseline.tfidf.interval", ..., "metrics/detail/baseline_eval/baseline.json"),
    ):
        with pytest.raises(UserError, match=f"^{file}: {key.partition('.')[2]} "):
            check_scores(changed(key, value), REPORT)


@pytest.mark.parametrize("command", ["finetune.summary", "finetune.report", "finetune.gate"])
@pytest.mark.parametrize("content", ["[1, 2]", "0.5", '"text"', "null", "NaN"])
def test_a_file_that_is_no_object_ends_every_command_in_one_line(folder, monkeypatch, capsys, command, content):
    write(FILES)
    (folder / "metrics/detail/evaluate").mkdir(parents=True)
    for file in ("metrics/detail/evaluate/test.json", "metrics/test.json"):
        (folder / "metrics/detail/evaluate/test.json").write_text("{}")
        (folder / file).write_text(content)
        monkeypatch.setattr(sys, "argv", [command])
        main = import_module(command if command == "finetune.summary" else f"{command}.__main__").main
        assert run(main, mistake=2) == 2
        said = capsys.readouterr().err
        assert re.match(f"error: {file}( at workspace)? must hold an object with scores by name, found ", said)
        assert said.count("\n") == 1
        assert f"git restore {file}" in said


@pytest.mark.parametrize("key", ["baseline.tfidf.accuracy", "test.gain"])
@pytest.mark.parametrize("command", ["finetune.summary", "finetune.report", "docs.readme"])
def test_each_command_ends_in_that_line(folder, key, command):
    value, line = WRONG[key]
    write(changed(key, value))
    (folder / "docs").mkdir()
    (folder / "docs/parameters.md").write_text("x")
    (folder / "README.md").write_text("```\n```")
    done = subprocess.run([sys.executable, "-m", command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith(f"error: {line}")
    assert len(done.stderr.splitlines()) == 1
    assert not (folder / "docs/default_run").exists()


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("test", [1], "error: metrics/test.json must hold an object with scores by name, found a list"),
        ("data", 1, "error: metrics/data.json must hold an object with scores by name, found 1"),
        ("test.accuracy", "high", "not a number"),
        ("test.accuracy", float("nan"), "not a number"),
        ("test.accuracy", [1], "not a number"),
        ("test.accuracy", ..., "missing"),
    ],
)
def test_the_gate_cannot_tell(folder, key, value, said):
    write(changed(key, value))
    command = [sys.executable, "-m", "finetune.gate", "--markdown", "page.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert said in (done.stderr if said.startswith("error") else done.stdout)
    assert len(done.stderr.splitlines()) == said.startswith("error")
    assert (folder / "page.md").read_text(encoding="utf-8").startswith("# The gate could not tell\n")


def test_the_gate_s_page_names_what_keeps_it_from_showing_the_scores(folder):
    write(changed("test.gain", 1))
    command = [sys.executable, "-m", "finetune.gate", "--markdown", "page.md"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")  # the threshold of the test's parameters is on the accuracy
    assert "metrics/test.json: gain must be an object, found 1; " in (folder / "page.md").read_text(encoding="utf-8")


def test_scores_of_an_older_layout_become_those_of_the_shipped_model():
    old = {
        "accuracy": 0.8,
        "ece": 0.3,
        "log_loss": 0.6,
        "calibration": {"temperature": 2.0, "ece": 0.1, "log_loss": 0.5},
    }
    old["intervals"] = {"ece": {"low": 0.2, "high": 0.4}, "f1": {"low": 0.7, "high": 0.9}}
    new = of_shipped_model(old)
    assert new == {
        "accuracy": 0.8,
        "ece": 0.1,
        "log_loss": 0.5,
        "calibration": {"temperature": 2.0, "uncalibrated": {"ece": 0.3, "log_loss": 0.6}},
        "intervals": {"f1": {"low": 0.7, "high": 0.9}},
    }
    assert of_shipped_model(new) == new
