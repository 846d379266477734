"""The gate, the report and the summary in environments without UTF-8, and bugs of our own, which are no verdicts."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from finetune.results.experiments import run_dvc
from finetune.results.revisions import Revision, git_output
from tests.support.export_project import METRICS
from tests.support.project import PARAMS

ENVIRONMENTS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "gbk": {"PYTHONIOENCODING": "gbk"},
    "C": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "C, not coerced to UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
BRANCH = "分支-é…"


def git(*arguments: str):
    """A Git command, whatever the machine's settings are."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", *identity, *arguments], capture_output=True, check=True)


@pytest.fixture
def branch(workdir, monkeypatch):
    """A branch with a Chinese name, subject, labels and file names, whose workspace has other scores."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    (workdir / "metrics").mkdir()
    label = {"accuracy": 0.8, "precision": 0.8, "recall": 0.8, "f1": 0.8, "rows": 80}
    test = METRICS["test"] | {"per_class": {"负面": label, "正面": label}}
    for name, content in (("test", test), ("baseline", METRICS["baseline"])):
        (workdir / f"metrics/{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    params = PARAMS | {"data": PARAMS["data"] | {"uri": "data/local/评论.csv"}}
    (workdir / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    (workdir / "笔记.txt").write_text("1", encoding="utf-8")
    git("init", "-q", "-b", BRANCH)
    git("add", "-A")
    git("commit", "-q", "-m", "训练：更好的模型…")
    (workdir / "笔记.txt").write_text("2", encoding="utf-8")
    (workdir / "metrics/test.json").write_text(json.dumps(test | {"accuracy": 0.82}), encoding="utf-8")
    params["data"]["uri"] = "data/local/新评论.csv"
    (workdir / "params.yaml").write_text(yaml.safe_dump(params, allow_unicode=True), encoding="utf-8")
    return workdir


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """A command of the project under an environment; what it prints stays bytes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHONIO"))}
    return subprocess.run([sys.executable, "-m", *arguments], capture_output=True, check=False, env=kept | environment)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_gate_the_report_and_the_summary_end_as_in_any_other_environment(branch, name):
    environment = ENVIRONMENTS[name]
    gate = command("finetune.gate", "--against", BRANCH, "--markdown", "page.md", **environment)
    assert (gate.returncode, gate.stderr) == (2, b"")  # the data differ, which is no verdict
    assert b"No verdict on any metric" in gate.stdout
    page = (branch / "page.md").read_text(encoding="utf-8")
    assert f"## Against {BRANCH} (merge base" in page
    assert "data/local/新评论.csv" in page
    report = command("finetune.report", "--against", BRANCH, **environment)
    assert (report.returncode, report.stderr) == (0, b"")
    shown = (branch / "report.html").read_text(encoding="utf-8")
    for text in ("训练：更好的模型…", f"Against {BRANCH}", "笔记.txt"):
        assert text in shown
    summary = command("finetune.summary", **environment)
    assert (summary.returncode, summary.stderr) == (0, b"")
    unknown = command("finetune.gate", "--against", "没有", **environment)
    assert unknown.returncode == 2
    assert unknown.stderr.startswith(b"error: Git knows no revision")


@pytest.mark.usefixtures("branch")
def test_git_and_dvc_are_read_as_utf_8_whatever_they_are_set_to(monkeypatch):
    for name, value in ENVIRONMENTS["C, not coerced to UTF-8"].items():
        monkeypatch.setenv(name, value)
    git("config", "i18n.logOutputEncoding", "GBK")
    assert git_output("log", "-1", "--format=%s") == "训练：更好的模型…"
    assert "笔记.txt" in git_output("status", "--porcelain")
    assert Revision(BRANCH).params()["data"]["uri"] == "data/local/评论.csv"
    done = run_dvc("params", "diff", "没有", capture=True)
    assert done.returncode
    assert isinstance(done.stderr, str)


BUG = """
import finetune.gate.__main__ as gate
from finetune.base.command import run

def broken(*_):
    raise KeyError("a bug")

gate.{name} = broken
import sys
sys.argv = ["gate", "--against", "HEAD", "--markdown", "page.md"]
raise SystemExit(run(gate.main, mistake=gate.CANNOT_TELL))
"""


@pytest.mark.parametrize("name", ["check_thresholds", "compare_with"])
def test_a_bug_of_our_own_is_no_verdict(branch, name):
    done = subprocess.run([sys.executable, "-c", BUG.format(name=name)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "KeyError: 'a bug'" in done.stderr
    text = (branch / "page.md").read_text(encoding="utf-8")
    assert text.startswith("# The gate could not tell\n")
    assert "stopped before its end" in text
