"""Each benchmark runs, on a tiny size, and prints its ratio."""

import json
import re
import sys
from importlib import import_module

import numpy as np
import pytest

from benchmarks import scale, side_by_side, training
from benchmarks.measure import Ratio, median_seconds, table
from benchmarks.repro import trivial_repository
from benchmarks.serving import percentile
from finetune.base.errors import UserError
from finetune.base.yaml_file import parse_yaml
from tests.conftest import ROOT
from tests.stages.test_tokenize import review_rows, write_raw
from tests.support.project import PARAMS, Project
from tests.support.warm import warm_spawns


@pytest.fixture
def benchmark(monkeypatch, capsys):
    """Function that runs `python -m benchmarks.…` in a folder and gives its output; in this process, which has its imports."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(folder, module: str, *options: str) -> str:
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", [module, *options])
        capsys.readouterr()
        assert not import_module(module).main()
        return capsys.readouterr().out

    return run


def shown_ratio(output: str, measurement: str) -> float:
    """Ratio in the table's line for a measurement, given by the start of its name."""
    line = next(line for line in output.splitlines() if line.startswith(measurement))
    return float(re.split(" {2,}", line)[4])  # name, measured value, value it is compared with, unit, ratio


def test_tokenization_is_compared_with_the_tokenizer_and_its_memory_with_fewer_rows(benchmark, workdir, tiny_bert):
    write_raw(workdir, tiny_bert, review_rows(60))
    output = benchmark(workdir, "benchmarks.tokenization", "--rows", "200", "--rounds", "1")
    assert shown_ratio(output, "stage tokenize") > 0
    assert 0.9 < shown_ratio(output, "peak memory of tokenize") < 1.5


def test_memory_on_many_rows_is_compared_with_that_on_fewer_for_each_stage(benchmark, workdir, tiny_bert):
    write_raw(workdir, tiny_bert, review_rows(60))
    options = ("--rows", "600", "--fewer", "300", "--steps", "1", "--stages", "download", "tokenize")
    output = benchmark(workdir, "benchmarks.scale", *options)
    assert [line.split()[0] for line in output.splitlines()[2:4]] == ["download", "tokenize"]  # their seconds
    for stage in ("download", "tokenize"):
        assert 0.7 < shown_ratio(output, f"peak memory of {stage}, 600 rows beside 300") < 1.4


def test_the_benchmark_of_many_rows_knows_every_stage_in_its_order():
    assert list(scale.STAGES) == list(parse_yaml(ROOT / "dvc.yaml")["stages"])


def test_recombined_texts_differ_and_keep_the_label_and_the_group_of_their_first_part():
    """Three quarters of two and of four words are two and three."""
    texts = np.array(["a b", "c d e f", "x y", "z w"], object)
    labels, groups = np.array(["0", "0", "1", "1"]), np.array(["one", None, "two", "two"], object)
    rows = scale.recombined(texts, labels, groups, 8).to_pylist()
    assert sorted((row["text"], row["group"]) for row in rows if row["label"] == "0") == [
        ("a b a b", "one"),
        ("a b c d e", "one"),
        ("c d e f a b", None),
        ("c d e f c d e", None),
    ]
    assert sum(row["label"] == "1" for row in rows) == 4
    with pytest.raises(UserError, match="--rows must be at most 8, the pairs of these texts, found 9"):
        scale.recombined(texts, labels, groups, 9)


def test_a_no_op_repro_is_compared_with_plain_dvc_and_a_full_one_shows_its_stages(workdir):
    trivial_repository(workdir)
    Project(workdir).run("git", "add", "-A")
    Project(workdir).run("git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "-qm", "Start")
    command = (sys.executable, "-m", "benchmarks.repro", "--rounds", "1", "--full")
    output = Project(workdir).run(*command, PYTHONPATH=str(ROOT)).stdout
    assert 0.2 < shown_ratio(output, "dvc repro with nothing to do") < 5  # the same work on both sides
    assert [line.split()[0] for line in output.splitlines()[-3:]] == ["start", "copy", "whole"]


def test_a_project_that_is_not_up_to_date_is_not_measured(workdir):
    trivial_repository(workdir)
    (workdir / "one").write_text("2\n")
    failed = Project(workdir).run(sys.executable, "-m", "benchmarks.repro", check=False, PYTHONPATH=str(ROOT))
    assert failed.returncode == 1
    assert failed.stderr == "error: the pipeline is not up to date; run `dvc repro` first\n"


def test_tasks_take_turns_and_the_first_round_does_not_count():
    calls = []
    median_seconds({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=2)
    assert "".join(calls) == "ababab"


def test_the_ratio_is_the_measured_value_over_the_one_it_is_compared_with():
    assert table([Ratio("reading", 3.0, 2.0, "s", "<= 2")]).splitlines()[-1].split() == [
        "reading",
        "3",
        "2",
        "s",
        "1.50",
        "<=",
        "2",
    ]


def test_our_training_is_compared_with_the_tutorials_recipe_on_the_same_rows(built, monkeypatch):
    """Speed on a few rows, then accuracy after a full training with one seed."""
    monkeypatch.chdir(built.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with warm_spawns():  # both sides alike
        output = table(training.comparison("tiny", rows=16, rounds=1, length=None, target="") + training.accuracies(1))
    assert shown_ratio(output, "training against the tutorials' recipe") > 0
    assert 0.3 < shown_ratio(output, "its peak memory") < 3
    assert shown_ratio(output, "its share of the matrix-product peak") < 1
    for split in ("validation", "test"):
        # At the recipe's 5e-5 so small an encoder learns nothing yet; at the tiny project's rate it does.
        assert 1.5 < shown_ratio(output, f"{split} accuracy over 1 seeds") <= 2


def test_percentiles_are_those_of_the_counted_requests():
    """100 requests: 98 took 3 ms, one 7 and one 50. In order, the 98th took 3, the 99th 7, the last 50."""
    times = {"50": 1, "3": 98, "7": 1}
    assert [percentile(times, share) for share in (0.5, 0.98, 0.99, 1)] == [3, 3, 7, 50]


def test_the_exported_model_is_compared_with_the_pipeline_and_the_ratios_are_recorded_for_the_card(benchmark, project):
    options = ("--rounds", "1", "--calls", "3", "--threads", "1", "--record")
    output = benchmark(project.folder, "benchmarks.inference", *options)
    assert shown_ratio(output, "one short text") > 1
    assert shown_ratio(output, "test rows in bulk") > 1
    assert shown_ratio(output, "process that answers one text") < 0.5
    assert shown_ratio(output, "peak memory over all test rows") < 0.8
    assert shown_ratio(output, "labels as evaluated") == 1  # as counted during the export
    recorded = json.loads(project.read("benchmarks/speed.json"))
    assert (recorded["model"], recorded["threads"]) == (PARAMS["model"]["uri"], 1)
    assert recorded["rows"] == json.loads(project.read("metrics/data.json"))["rows"]["test"]
    for case, measurement in (("one", "one short text"), ("many", "test rows in bulk")):
        ratios = recorded["relative"][case]
        assert (list(ratios), ratios["model"]) == (["model", "onnx", "int8"], 1.0)
        assert ratios["int8"] == pytest.approx(shown_ratio(output, measurement), abs=0.06)


def test_two_trainings_side_by_side_are_compared_with_one_alone(built, monkeypatch):
    """Real trainings give their seconds; the ratios are of medians: 9 of (8, 9, 30) over 5, and 5 over 4."""
    monkeypatch.chdir(built.folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with warm_spawns():
        assert 0 < side_by_side.spent(2, rows=16, precision="fp32", environment={}) < 60
    seconds = {(2, False): [30, 9, 8], (1, False): [5, 5, 1], (1, True): [4, 4, 4]}
    monkeypatch.setattr(
        side_by_side, "spent", lambda count, _rows, _precision, environment: seconds[count, bool(environment)].pop()
    )
    assert [row.ratio for row in side_by_side.ratios()] == [9 / 5, 5 / 4]
