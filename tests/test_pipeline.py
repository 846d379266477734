"""The promises of the design, through real `dvc` on a tiny configuration."""

import json
import re
import shlex
import shutil

import pyarrow.parquet as pq
import pytest
import yaml

from finetune.results.metrics import read_metrics
from tests.conftest import ROOT
from tests.support.imports import all_imports, parameter_sections
from tests.support.project import PARAMS, STAGES, Project
from tests.test_layout import DECLARED_LOSS

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def stage_of_params() -> dict[str, str]:
    """Each section of params.yaml with the stage whose `params` list it."""
    return {section: stage for stage in STAGES for section in PIPELINE["stages"][stage]["params"] if "." not in section}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_exactly_the_parameters_it_reads(stage):
    assert sorted(PIPELINE["stages"][stage]["params"]) == sorted(parameter_sections(ROOT / f"stages/{stage}.py"))


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "download"])
def test_every_stage_that_computes_depends_on_the_pinned_versions(stage):
    assert "requirements.txt" in PIPELINE["stages"][stage]["deps"]


def test_training_depends_on_no_test_row():
    deps = PIPELINE["stages"]["train"]["deps"]
    assert not any("test" in dep or dep == "data/tokenized" for dep in deps)


def test_the_first_run_runs_every_stage_and_leaves_a_clean_status(built):
    assert built.ran(built.first_output) == list(STAGES)
    assert "up to date" in built.dvc("status").stdout
    assert built.run("git", "status", "--porcelain").stdout == ""


def test_a_second_run_runs_nothing(built):
    assert built.ran(built.dvc("repro").stdout) == []


def test_the_metrics_have_the_keys_of_the_design(built):
    metrics = read_metrics(built.folder / "metrics")
    assert set(metrics["data"]["rows"]) == {"train", "validation", "test"}
    assert set(metrics["data"]["dropped"]) >= {"empty", "duplicate", "unlabelled"}
    assert set(metrics["data"]["tokens"]) == {"mean", "p95", "unknown", "per_word", "characters"}
    assert 0 <= metrics["data"]["truncated"] <= 1
    names = ("majority", "tfidf", "embedding", "untrained", "zero_shot", "few_shot")
    for block in [metrics["baseline"][name] for name in names] + [metrics["test"]]:
        assert set(block) >= {"accuracy", "precision", "recall", "f1", "per_class", "rows", "interval"}
        assert set(block["per_class"]) == {"negative", "positive"}
        assert set(block["per_class"]["positive"]) >= {"accuracy", "precision", "recall", "f1"}
        assert block["rows"] == metrics["data"]["rows"]["test"]
    assert metrics["baseline"]["best"] in names
    names = {"validation", "best_epoch", "epochs", "steps", "strategy", "reason", "majority", "warning"}
    assert set(metrics["train"]) == names | {"parameters", "precision"}
    assert set(metrics["train"]["validation"]) == {"accuracy", "f1", "loss"}
    assert set(metrics["test"]["gain"]) == {"value", "low", "high", "p_value"}
    assert set(metrics["test"]) >= {"log_loss", "brier", "ece", "roc_auc", "intervals", "calibration", "selective"}
    assert set(metrics["slices"]) >= {"length", "truncated", "negation", "label"}
    assert set(metrics["behaviour"]) >= {"typos", "case", "neutral"}
    assert set(metrics["checks"]) == {"near_duplicates", "suspicious_labels"}
    assert metrics["export"]["reload"]["agreement"] == 1.0
    assert metrics["test"]["accuracy"] > 0.8  # two words in each review give its label away


@pytest.mark.parametrize(
    ("strategy", "taken", "why"),
    [
        (
            "auto",
            "lp_ft",
            "auto: measured best for fewer than 150 training rows, found 92",
        ),
        ("contrastive", "contrastive", "set in params.yaml"),
    ],
)
def test_a_strategy_for_few_rows_gives_a_model_that_exports_like_any_other(
    project, monkeypatch, capsys, strategy, taken, why
):
    project.set_param("train.strategy", strategy)
    monkeypatch.chdir(project.folder)
    project.run_here("train", "evaluate", "export")
    assert f"train: {taken} ({why})" in capsys.readouterr().out
    metrics = read_metrics(project.folder / "metrics")
    assert (metrics["train"]["strategy"], metrics["train"]["reason"]) == (taken, why)
    assert f"The strategy was `{taken}`" in project.read("models/export/README.md")
    assert (why in project.read("models/export/README.md")) == (strategy == "auto")
    assert metrics["export"]["reload"]["agreement"] == metrics["export"]["onnx"]["agreement"] == 1.0
    config = json.loads(project.read("models/export/config.json"))
    assert config["num_hidden_layers"] == json.loads(project.read("models/base/config.json"))["num_hidden_layers"] + 1


def leaves(value) -> int:
    """Number of values in nested dictionaries."""
    return sum(map(leaves, value.values())) if isinstance(value, dict) else 1


def test_the_headline_of_a_run_fits_on_a_screen_and_the_rest_is_detail(built):
    (shown,) = json.loads(built.dvc("metrics", "show", "--json").stdout).values()
    files = shown["data"]
    assert set(files) == {f"metrics/{name}.json" for name in ("data", "baseline", "train", "test", "export")}
    headline = {file.removeprefix("metrics/"): content["data"] for file, content in files.items()}
    assert leaves(headline) <= 48
    names = {"accuracy", "interval", "gain", "rows", "precision", "recall", "f1"}
    names |= {"roc_auc", "log_loss", "brier", "ece"}
    assert set(headline["test.json"]) == names
    assert set(headline["data.json"]) == {"rows", "dropped", "truncated"}
    plots = json.loads(built.dvc("plots", "show", "--json").stdout)
    assert not [title for title in plots["data"] if "detail" in title and plots["data"][title]]


def test_a_threshold_can_name_a_key_of_the_detail(project):
    reached = read_metrics(project.folder / "metrics")["test"]["per_class"]["negative"]["f1"]
    project.set_param("gate", {"test.per_class.negative.f1": {"min": reached}, "slices.worst.accuracy": {"min": 0}})
    held = project.run("python", "-m", "finetune.gate")
    assert "test.per_class.negative.f1" in held.stdout
    project.set_param("gate", {"test.per_class.negative.f1": {"min": 1.01}})
    failed = project.run("python", "-m", "finetune.gate", check=False)
    assert failed.returncode == 1
    assert "falls short" in failed.stdout


CHANGES = [
    ("data.group", None, "download"),
    ("model.sha256", "0" * 64, "download"),
    ("split.train_rows", 50, "tokenize"),
    ("split.test_rows", 10, "tokenize"),
    ("split.seed", 1, "tokenize"),
    ("tokenize.max_length", 16, "tokenize"),
    ("baseline.few_shot.draws", 4, "baseline_eval"),
    ("train.lr", 0.001, "train"),
    ("train.epochs", 1, "train"),
    ("train.min_steps", 2, "train"),
    ("baseline.zero_shot.prompts", None, "baseline_eval train"),  # `lp_ft` starts its head from them
    ("train.strategy", "head", "train"),
    ("train.class_weights", "balanced", "train"),
    ("train.best", "f1", "train"),
    ("evaluate.bins", 5, "evaluate"),
    ("evaluate.checks.similarity", 0.9, "evaluate"),
    ("decide.min_probability", 0.8, "evaluate"),
    ("export.name", "other", "export"),
    ("export.license", None, "export"),
    ("gate", {"test.accuracy": {"min": 0.99}}, None),
]
# In one process: `dvc status` takes a second to start, and there are some sixty changes.
STALE = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

stale = []
for name, text in json.load(sys.stdin):
    path = Path(name)
    before = path.read_bytes()
    path.write_text(text, encoding="utf-8")
    stale.append(sorted(Repo().status()))
    path.write_bytes(before)
print(json.dumps(stale))
"""


def stale_after(project: Project, changes: list[tuple[str, str]]) -> list[list[str]]:
    """Stages that each change makes stale on its own; a change is a file's name and its new text."""
    done = project.run("python", "-c", STALE, stdin=json.dumps(changes))
    return json.loads(done.stdout)


def test_a_changed_parameter_makes_its_own_stage_stale(project):
    before = project.read("params.yaml")
    changes = []
    for key, value, _ in CHANGES:
        project.set_param(key, value)
        changes.append(("params.yaml", project.read("params.yaml")))
        (project.folder / "params.yaml").write_text(before, encoding="utf-8")
    expected = [stages.split() if stages else [] for _, _, stages in CHANGES]
    assert dict(zip(map(str, CHANGES), stale_after(project, changes), strict=True)) == dict(
        zip(map(str, CHANGES), expected, strict=True)
    )


def test_every_section_but_the_gate_is_read_by_one_stage():
    sections = set(PARAMS)
    listed = [name for stage in STAGES for name in PIPELINE["stages"][stage]["params"]]
    assert sorted(name for name in listed if "." not in name) == sorted(sections - {"gate"})
    # Single keys that another stage reads too.
    shared = ["baseline.zero_shot.prompts", "tokenize.truncation", "train.teacher"]
    assert sorted(name for name in listed if "." in name) == shared


def test_a_changed_source_file_makes_exactly_the_stages_stale_that_list_it(project):
    """Through real `dvc status`: each stage that imports the file, and those of the declared loss in test_layout.py.

    One file of each folder: test_layout.py compares every file with the folders that a stage lists, and DVC ignores none.
    """
    paths = sorted([*project.folder.glob("finetune/**/*.py"), *project.folder.glob("stages/*.py")])
    modules = [str(path.relative_to(project.folder)) for path in paths if path.name != "__init__.py"]
    assert project.dvc("check-ignore", *modules, check=False).stdout == ""
    packages = {name.rpartition("/")[0]: name for name in modules if name.count("/") > 1}
    listed = {dep for stage in PIPELINE["stages"].values() for dep in stage["deps"]}
    names = [name for name in modules if name.count("/") == 1 or name in {*packages.values(), *listed}]
    found = stale_after(project, [(name, project.read(name) + "# changed\n") for name in names])
    imported = {stage: all_imports(project.folder, project.folder / f"stages/{stage}.py") for stage in STAGES}
    for name, stale in zip(names, found, strict=True):
        expected = {stage for stage in STAGES if name in imported[stage] | DECLARED_LOSS.get(stage, set())}
        expected |= {stage for stage in STAGES if name == f"stages/{stage}.py"}
        assert set(stale) == expected, name


def test_compiled_files_and_swap_files_leave_everything_up_to_date(project):
    key = "from finetune.training.checkpoints import stage_key; print(stage_key('train'))"
    before = project.run("python", "-B", "-c", key).stdout
    project.run("python", "-m", "compileall", "-q", "finetune", "stages")
    assert list(project.folder.glob("finetune/training/__pycache__/*.pyc"))
    for folder in {
        dep for stage in PIPELINE["stages"].values() for dep in stage["deps"] if dep.startswith("finetune/")
    }:
        if not folder.endswith(".py"):
            for name in (".module.py.swp", "module.py~", ".DS_Store"):
                (project.folder / folder / name).write_bytes(b"x")
    assert "up to date" in project.dvc("status").stdout
    assert project.ran(project.dvc("repro").stdout) == []
    assert project.run("python", "-B", "-c", key).stdout == before


def gate_lines(clone: Project) -> dict[str, list[str]]:
    """Lines of the gate that stops a branch, split into words, by the first word of each."""
    done = clone.run("python", "-m", "finetune.gate", "--against", "origin/main", check=False)
    assert done.returncode == 1, done.stderr
    return {line.split()[0]: line.split() for line in done.stdout.splitlines() if line}


@pytest.fixture(scope="module")
def slower(built, tmp_path_factory) -> Project:
    """The built project after the experiment `slow` on the branch `slower`, not committed; do not change it."""
    project = built.copy(tmp_path_factory.mktemp("slower") / "project")
    project.run("git", "checkout", "-q", "-b", "slower")
    found = project.dvc("exp", "run", "--name", "slow", "--set-param", "train.lr=1e-5")
    assert project.ran(found.stdout) == ["train", "evaluate", "export"]
    return project


@pytest.mark.xdist_group("slower")
def test_another_learning_rate_on_a_branch_can_be_compared_without_a_cache_and_taken_back_without_a_run(
    built, slower, tmp_path
):
    project = slower.copy(tmp_path / "project")
    before = built.read("dvc.lock")
    accuracy = built.read("metrics/test.json")
    assert project.read("dvc.lock") != before
    assert project.read("metrics/test.json") != accuracy
    project.commit("Train more slowly")

    project.run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    difference = json.loads(clone.dvc("metrics", "diff", "origin/main", "--json").stdout)
    assert difference["metrics/test.json"]["accuracy"]["old"] > difference["metrics/test.json"]["accuracy"]["new"]
    parameters = json.loads(clone.dvc("params", "diff", "origin/main", "--json").stdout)
    assert parameters["params.yaml"]["train.lr"] == {"old": 0.003, "new": 1e-05, "diff": -0.00299}
    plots = json.loads(clone.dvc("plots", "diff", "origin/main", "--json").stdout)
    assert {"ROC curve", "Confusion matrix", "Training loss"} <= set(plots["data"])
    assert not plots.get("errors")
    drawn = plots["data"]["Accuracy on the test rows"][0]["content"]["data"]["values"]
    points = {point["rev"]: float(point["accuracy"]) for point in drawn if point["classifier"] == "fine-tuned"}
    accuracies = difference["metrics/test.json"]["accuracy"]
    assert points == {"origin/main": accuracies["old"], "workspace": accuracies["new"]}

    # The gate, first from what is in Git alone, then paired on what a remote has.
    stopped = gate_lines(clone)
    assert stopped["accuracy"][-1] == stopped["log_loss"][-1] == "worse"
    assert [float(value) for value in stopped["accuracy"][1:3]] == [accuracies["old"], accuracies["new"]]
    assert stopped["train.lr"] == ["train.lr", "0.003", "1e-05"]
    assert " ".join(stopped["Compared:"]) == "Compared: intervals in Git."
    project.dvc("remote", "add", "--global", "--default", "store", str(tmp_path / "store"))
    project.dvc("push", "--all-branches", "data/predictions/test.parquet")
    paired = gate_lines(clone)
    assert " ".join(paired["Compared:"]) == f"Compared: paired on {json.loads(accuracy)['rows']} rows."
    assert paired["accuracy"][-1] == "worse"
    assert clone.run("git", "status", "--porcelain").stdout == ""
    clone.run("python", "-m", "finetune.report", "--against", "origin/main")
    page = " ".join(re.sub("<[^>]+>", " ", clone.read("report.html")).split())
    change = accuracies["new"] - accuracies["old"]
    assert f"accuracy worse {accuracies['old']:.3f} {accuracies['new']:.3f} \N{MINUS SIGN}{-change:.3f}" in page
    assert "train.lr 0.003 1e-05" in page
    assert clone.run("git", "status", "--porcelain").stdout == ""  # the page is ignored

    project.set_param("train.lr", 0.003)
    assert project.ran(project.dvc("repro").stdout) == []  # the run cache brings the results back
    assert project.read("dvc.lock") == before
    assert project.read("metrics/test.json") == accuracy


def test_a_clone_whose_git_converts_line_endings_has_nothing_stale(built, tmp_path):
    built.run("git", "clone", "-q", "-c", "core.autocrlf=true", str(built.folder), str(tmp_path / "clone"))
    clone = Project(tmp_path / "clone")
    shutil.copytree(built.folder / "data/local", clone.folder / "data/local", dirs_exist_ok=True)
    clone.dvc("config", "--local", "cache.dir", str(built.folder / ".dvc/cache"))
    clone.dvc("checkout")
    assert "up to date" in clone.dvc("status").stdout
    assert clone.run("git", "status", "--porcelain").stdout == ""


def test_more_test_rows_do_not_retrain(project):
    project.set_param("split.test_rows", 20)
    assert project.ran(project.dvc("repro", "train").stdout) == ["tokenize"]
    assert json.loads(project.read("metrics/data.json"))["rows"]["test"] == 20
    assert set(json.loads(project.dvc("status", "--json").stdout)) >= {"baseline_eval", "evaluate"}


@pytest.mark.xdist_group("slower")
def test_an_experiment_trains_with_the_learning_rate_it_was_given(slower):
    project = slower
    assert project.params()["train"]["lr"] == 1e-5
    rates = project.read("metrics/plots/train/plots/metrics/train/learning_rate.tsv").split()
    assert max(float(rate) for rate in rates[3::2]) <= 1e-5
    shown = project.dvc("exp", "show", "--csv").stdout
    assert "slow" in shown
    assert "1e-05" in shown
    # README's line to copy shows the scores that matter and what differs, no more.
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in readme if line.startswith("dvc exp show --only-changed")]
    table = project.dvc(*shlex.split(line)[1:], "--csv").stdout.splitlines()
    gain = ["gain.value", "gain.low", "gain.high"]
    assert table[0].split(",") == ["Experiment", "accuracy", "f1", *gain, "train.lr"]
    (row,) = [row.split(",") for row in table if row.startswith("slow,")]
    assert row[-1] == "1e-05"
    # What it says against the branch it started from: the same model, trained 300 times more slowly.
    compared = json.loads(project.dvc("metrics", "diff", "main", "--json").stdout)
    assert compared["metrics/test.json"]["accuracy"]["diff"] < 0


def test_plots_hold_data_of_model_and_baseline(built):
    plots = json.loads(built.dvc("plots", "show", "--json").stdout)
    assert not plots.get("errors")
    titles = {next(iter(plot)) for plot in PIPELINE["plots"]}
    assert titles <= set(plots["data"])
    for title in titles:
        assert plots["data"][title][0]["content"]["data"]["values"], title
    roc = json.dumps(plots["data"]["ROC curve"][0]["content"]["data"]["values"])
    assert "fine-tuned" in roc
    assert "baseline" in roc


def test_no_text_and_no_group_stands_in_two_splits(built):
    tables = [
        pq.read_table(built.folder / f"data/tokenized/{name}.parquet") for name in ("train", "validation", "test")
    ]
    for column in ("text", "group", "row"):
        sets = [set(table.column(column).to_pylist()) for table in tables]
        assert sum(map(len, sets)) == len(set.union(*sets))
    assert sum(table.num_rows for table in tables) == 160


def test_a_failed_stage_leaves_results_that_can_be_brought_back(project):
    lock, rows = project.read("dvc.lock"), project.folder / "data/tokenized/train.parquet"
    before = rows.read_bytes()
    project.set_param("tokenize.max_length", 1000)  # more than the model takes, which the stage finds out
    assert project.dvc("repro", check=False).returncode != 0
    assert not rows.exists()  # DVC clears a stage's outputs before it starts
    assert project.read("dvc.lock") == lock
    project.run("git", "restore", "params.yaml", "metrics")
    project.dvc("checkout")
    assert rows.read_bytes() == before
    assert "up to date" in project.dvc("status").stdout


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.lr", "fast", "train.lr must be a valid number, found 'fast'"),
        ("data.text", "review", "reviews.csv has no column 'review'; its columns are text, label, film"),
    ],
)
def test_a_mistake_in_params_ends_in_one_line(project, key, value, message):
    project.set_param(key, value)
    failed = project.dvc("repro", check=False)
    assert failed.returncode != 0
    lines = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert message in lines[0]
    assert "Traceback" not in failed.stdout + failed.stderr
