"""The gate: holds, falls short, or cannot tell."""

import json
import subprocess
import sys

import pytest
import yaml

from finetune.base.command import run
from finetune.base.params_results import Gate
from finetune.gate import __main__ as gate_command
from finetune.gate.page import CURVES, Section, loss_chart, page
from finetune.gate.thresholds import CANNOT_TELL, FALLS_SHORT, HOLDS, check_thresholds
from finetune.results.folds import folds_digest
from finetune.results.metrics import look_up, read_metrics
from tests.support.project import PARAMS

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
    found, section = check_thresholds(METRICS, Gate(**{key: threshold}))
    assert found == status
    assert all(word in section.text().splitlines()[-1] for word in [key, *words])


def test_the_worst_verdict_counts():
    gate = Gate(**{"test.accuracy": {"min": 0.9}, "test.recall": {"min": 0.1}, "test.gain.low": {"min": 0}})
    assert check_thresholds(METRICS, gate)[0] == CANNOT_TELL


@pytest.mark.parametrize(
    ("gain", "status", "word"),
    [
        ({"value": 0.05, "low": 0.01}, HOLDS, "holds"),
        ({"value": 0.03, "low": 0.01}, FALLS_SHORT, "falls short"),
        ({"value": 0.05, "low": -0.01}, FALLS_SHORT, "falls short"),
        ({"value": 0.05, "low": 0.0}, FALLS_SHORT, "falls short"),
        ({"value": 0.05, "low": float("nan")}, CANNOT_TELL, "not a number"),
        ({"value": 0.05}, CANNOT_TELL, "missing"),
        ({}, CANNOT_TELL, "missing"),
    ],
)
def test_the_gain_over_the_best_baseline_must_be_large_enough_and_significant(gain, status, word):
    found, section = check_thresholds({"test": {"gain": gain}}, Gate(min_gain=0.04))
    assert found == status
    assert section.rows[0][0] == "min_gain"
    assert section.rows[0][-1] == word


def test_a_threshold_on_a_cross_validation_that_is_missing_cannot_be_judged():
    """One line says how to make it; the other thresholds are judged all the same."""
    gate = Gate(**{"test.accuracy": {"min": 0.8}, "folds.accuracy": {"min": 0.7}, "folds.per_class.a.f1": {"min": 0.7}})
    found, section = check_thresholds(METRICS, gate)
    assert found == CANNOT_TELL
    assert [row[-1] for row in section.rows] == ["holds", "missing", "missing"]
    assert section.notes == ["metrics/folds.json is missing; `make folds` writes it"]


def test_a_cross_validation_of_other_settings_is_not_judged(workdir):
    """The training seed is one of its settings, because every fold has the same; the fold that the workspace holds is none."""
    gate = Gate(**{"folds.accuracy": {"min": 0.7}})

    def judged(params: dict) -> tuple[int, list[str]]:
        (workdir / "params.yaml").write_text(yaml.safe_dump(params))
        status, section = check_thresholds(
            METRICS | {"folds": {"settings": folds_digest(PARAMS), "accuracy": 0.75}}, gate
        )
        return status, section.notes

    other = "metrics/folds.json belongs to other settings; `make folds` runs these"
    assert judged(PARAMS) == (HOLDS, [])
    assert judged(PARAMS | {"split": PARAMS["split"] | {"folds": 5, "fold": 1}}) == (HOLDS, [])
    assert judged(PARAMS | {"gate": {}}) == (HOLDS, [])
    assert judged(PARAMS | {"train": PARAMS["train"] | {"seed": 1}}) == (CANNOT_TELL, [other])
    assert judged(PARAMS | {"split": PARAMS["split"] | {"seed": 1}}) == (CANNOT_TELL, [other])


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
        (0.9, {"min_gain": 0.02}, 2, "missing"),
    ],
)
def test_the_command_s_exit_status_is_the_verdict(workdir, monkeypatch, capsys, accuracy, gate, status, said):
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_text(json.dumps({"accuracy": accuracy}))
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"gate": gate}))
    monkeypatch.setattr(sys, "argv", ["gate"])
    assert run(gate_command.main, mistake=CANNOT_TELL) == status
    assert said in capsys.readouterr().out


def test_a_page_that_has_no_folder_ends_with_2_in_one_line(workdir, monkeypatch, capsys):  # noqa: ARG001, the current folder
    monkeypatch.setattr("sys.argv", ["gate", "--markdown", "none/page.md"])
    assert run(gate_command.main, mistake=CANNOT_TELL) == 2
    assert capsys.readouterr().err == "error: there is no folder none to write page.md into; create it\n"


def test_an_empty_revision_is_not_taken_for_none(workdir, monkeypatch, capsys):
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS | {"gate": {}}))
    monkeypatch.setattr(sys, "argv", ["gate", "--against="])
    assert run(gate_command.main, mistake=CANNOT_TELL) == 2
    assert capsys.readouterr().err == "error: --against is empty; name a branch, a tag or a commit\n"


def test_a_metrics_file_that_is_not_json_is_named(workdir):
    (workdir / "metrics").mkdir()
    (workdir / "metrics/test.json").write_text("{")
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    done = subprocess.run([sys.executable, "-m", "finetune.gate"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: metrics/test.json is not JSON")
    assert "git restore metrics/test.json" in done.stderr


def git(*arguments: str):
    """A Git command, whatever the machine's settings are."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *arguments], capture_output=True, check=True)


@pytest.fixture
def branch(workdir, monkeypatch):
    """A branch whose workspace has main's metrics, committed, and no predictions."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (workdir / "metrics").mkdir()
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    write_test(workdir, 0.9)
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "Run")
    git("checkout", "-q", "-b", "other")
    return workdir


def write_test(folder, accuracy, **more):
    """metrics/test.json with this accuracy on 1000 rows, and an interval of two points to each side."""
    around = {"low": accuracy - 0.02, "high": accuracy + 0.02}
    test = {"accuracy": accuracy, "rows": 1000, "interval": around} | more
    (folder / "metrics/test.json").write_text(json.dumps(test))


def gate(*arguments: str) -> subprocess.CompletedProcess:
    """The command."""
    command = [sys.executable, "-m", "finetune.gate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("branch")
def test_a_workspace_without_a_difference_holds_and_says_so():
    done = gate("--against", "main")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing to compare: the merge base is this commit, and no metric of the test rows differs." in done.stdout


def test_a_fall_is_distinguished_from_noise_by_the_intervals_in_git(branch, capsys, monkeypatch):
    """0.02 on each side of both, and 0.01 between seeds: √(2 * (0.02 / 1.96)² + 2 * 0.01²) * 1.96 = 0.0396."""
    verdicts = {}
    for accuracy in (0.865, 0.855, 0.945):
        write_test(branch, accuracy)
        monkeypatch.setattr(sys, "argv", ["gate", "--against", "main", "--markdown", "page.md"])
        status = gate_command.main()
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("accuracy"))
        verdicts[accuracy] = (status, *line.split(maxsplit=7)[3:])
    assert verdicts == {
        0.865: (HOLDS, "-0.0350", "-0.0746", "to", "+0.0046", "within noise"),
        0.855: (FALLS_SHORT, "-0.0450", "-0.0846", "to", "-0.0054", "worse"),
        0.945: (HOLDS, "+0.0450", "+0.0054", "to", "+0.0846", "better"),
    }
    markdown = (branch / "page.md").read_text(encoding="utf-8")
    assert markdown.startswith("# The gate holds\n")
    row = next(line for line in markdown.splitlines() if line.startswith("| `accuracy`"))
    assert [cell.strip() for cell in row.strip("|").split("|")][1:4] == ["`0.9000`", "`0.9450`", "`+0.0450`"]
    assert "Not paired row by row: " in markdown


def test_what_cannot_be_compared_ends_with_2_in_one_line_and_the_page_says_it_too(branch):
    done = gate("--against", "nowhere", "--markdown", "page.md")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["error: Git knows no revision 'nowhere'; `git branch --all` lists the branches"]
    assert "holds" in done.stdout  # the thresholds were looked at before
    text = (branch / "page.md").read_text(encoding="utf-8")
    assert text.startswith("# The gate could not tell\n")
    assert "Git knows no revision 'nowhere'" in text
    done = gate("--against", "x" * 100_000)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("error: Git knows no revision 'xxx")

    write_test(branch, float("nan"))
    done = gate("--against", "main")
    assert done.returncode == 2
    assert any(line.startswith("accuracy") and line.endswith("not a number") for line in done.stdout.splitlines())

    (branch / "metrics/test.json").unlink()
    done = gate("--against", "main")
    assert done.returncode == 2
    assert done.stderr.startswith("error: there is no metrics/test.json at workspace; run `make repro`")


def test_text_and_markdown_hold_the_same_cells_and_markdown_lets_nothing_through():
    section = Section("Parameters", ["parameter", "value"], [["data.uri", "a|b`c\n![x](y) @all"]], ["<img> @all"])
    assert "a|b`c" in section.text()
    cells = [line for line in section.markdown().splitlines() if "data.uri" in line]
    assert len(cells) == 1
    assert "`a\\|b'c ![x](y) @all`" in cells[0]
    assert "\\<img\\> @\u200ball" in section.markdown()


def test_a_page_fits_into_a_comment_and_keeps_the_rows_that_fail():
    """Of 1,000 rows 200 stay, those that fall short first; of two sections of 40,000 characters one stays."""
    rows = [[f"test.per_class.{number}.f1", "0.5", "at least 0.4", "holds"] for number in range(999)]
    section = Section("Thresholds", ["metric", "found", "wanted", ""], [*rows, ["test.f1", "0", "1", "falls short"]])
    text = page("The gate stops this", [section], {})
    assert text.count("`holds`") == 199
    assert text.count("`falls short`") == 1
    assert "800 more rows are left out; the command's output has them" in text
    assert section.text().count("  holds") == 999
    long = Section("Notes", notes=["a" * 900] * 44)
    text = page("The gate holds", [long, long], {})
    assert text.count("## Notes") == 1
    assert "a comment has room for no more" in text


def test_the_loss_chart_has_a_point_for_every_validation():
    """Training losses 4 and 2 come before the first validation (mean 3), 1 between the first and the second."""
    chart = loss_chart([(1, 4.0), (2, 2.0), (4, 1.0)], [(2, 2.5), (4, 2.0)])
    assert chart.splitlines()[0] == "```mermaid"
    assert '    x-axis "step" [2, 4]' in chart
    assert "    line [3.0000, 1.0000]\n    line [2.5000, 2.0000]" in chart


def test_the_page_of_a_whole_run_has_scores_and_both_charts(built, monkeypatch):
    monkeypatch.chdir(built.folder)
    assert CURVES.is_dir()
    metrics = read_metrics()
    text = page("The gate holds", [], metrics)
    assert text.count("```mermaid") == 2
    assert "| this model" in text
    best = f"{metrics['test']['accuracy']:.3f}"
    assert f"    bar [{best}, " in text
    assert "McNemar p = " in text
