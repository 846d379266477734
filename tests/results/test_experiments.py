"""The user's own, untracked data in experiments that DVC runs in a copy of the project: real DVC, a file just put there."""

import json
import shutil
import subprocess
import threading
import time

import psutil
import pytest
import zc.lockfile

from finetune.base.yaml_file import parse_yaml_text
from finetune.results.experiments import own_files_digest, run_dvc, settings_digest
from tests.support.project import OWN_FILE, Project

# Every train stage waits, with its lock, until as many trainings hold one as the file `trainings` says; then it writes a
# checkpoint after each step. The folder of the project is on the path of its copies too.
MEET = """
import glob, os, sys, time
class Meet:
    def find_spec(self, name, path, target=None):
        if name == "finetune.training.fit" and os.path.exists(PROJECT + "/trainings"):
            import finetune.training.checkpoints as checkpoints
            checkpoints.SECONDS, checkpoints.SHARE = 0, 1e9
            acquire = checkpoints.Checkpoints.lock
            def lock(self):
                lock = acquire(self)
                open(f"{PROJECT}/{os.getpid()}.trains", "w").close()
                count, end = int(open(PROJECT + "/trainings").read()), time.monotonic() + 90
                while len(glob.glob(PROJECT + "/*.trains")) < count and time.monotonic() < end:
                    time.sleep(0.05)
                return lock
            checkpoints.Checkpoints.lock = lock
sys.meta_path.insert(0, Meet())
"""


@pytest.fixture
def own(project) -> Project:
    """The built project, whose file is in a subfolder, with another just put into data/local; Git ignores both."""
    shutil.copy(project.folder / OWN_FILE, project.folder / "data/local/own.csv")
    assert project.run("git", "status", "--porcelain").stdout == ""
    return project


def exp_ref(project: Project, name: str) -> str:
    """Git's name of a finished experiment."""
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.split()
    (ref,) = [ref for ref in refs if ref.endswith(f"/{name}")]
    return ref


def uri_of(project: Project, name: str) -> str:
    """`data.uri` of a finished experiment, as Git has it."""
    text = project.run("git", "show", f"{exp_ref(project, name)}:params.yaml").stdout
    return parse_yaml_text(text, name)["data"]["uri"]


def end_workers(project: Project):
    """Stops the workers of the queue and waits until they have ended; they run on for some seconds after the last task."""
    project.dvc("queue", "stop", "--kill", check=False)
    workers = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(project.folder)]
    for worker in psutil.wait_procs(workers, timeout=30)[1]:
        worker.kill()


def states(project: Project) -> dict[str, str]:
    """How each task of the queue ended, "Success" or "Failed", once all have."""
    ended = time.monotonic() + 200
    while "Running" in (status := project.dvc("queue", "status").stdout) or "Queued" in status:
        assert time.monotonic() < ended, status
        time.sleep(3)  # each look takes a second of a core
    return {line.split()[1]: line.split()[-1] for line in status.splitlines() if line.endswith(("Success", "Failed"))}


def trained(project: Project, revision: str = "") -> dict[str, str]:
    """Checksums of the outputs of `train`, from the dvc.lock of an experiment or of the workspace."""
    name = "dvc.lock"
    text = project.run("git", "show", f"{revision}:{name}").stdout if revision else project.read(name)
    return {out["path"]: out["md5"] for out in parse_yaml_text(text, name)["stages"]["train"]["outs"]}


def test_a_queue_runs_with_such_a_file_and_says_what_a_task_lacks(own):
    """tests/test_seeds.py runs experiments outside the queue, with the file in a subfolder."""
    copied = {
        "file": ["--copy-paths", "data/local/own.csv", "-S", "data.uri=data/local/own.csv"],
        "no-file": ["-S", "data.uri=data/local/own.csv"],
        "no-folder": ["-S", "split.seed=1"],
    }
    for name, options in copied.items():
        own.dvc(*("exp", "run", "--queue", "--name", name, "--copy-paths", "data/local/model"), *options, "tokenize")
    own.dvc("queue", "start")
    assert states(own) == {"file": "Success", "no-file": "Failed", "no-folder": "Failed"}
    for name, option in (("no-file", "data/local/own.csv"), ("no-folder", "'data/local/my tickets'")):
        errors = [line for line in own.dvc("queue", "logs", name).stdout.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert errors[0].endswith(f"add `--copy-paths {option}` to `dvc exp run`")
    assert uri_of(own, "file") == "data/local/own.csv"


def test_trainings_of_the_queue_and_beside_it_share_no_lock_and_no_checkpoint(project, monkeypatch):
    """Three at the same time, two of them with the same settings, each in a copy; then one of them alone, here."""
    (project.folder / "sitecustomize.py").write_text(f"PROJECT = {str(project.folder)!r}\n{MEET}", encoding="utf-8")
    with (project.folder / ".git/info/exclude").open("a") as file:
        file.write("sitecustomize.py\ntrainings\n*.trains\n")
    (project.folder / "trainings").write_text("3")
    copied = ("--copy-paths", "data/local/my tickets", "--copy-paths", "data/local/model")
    for name, rate in (("slow", "0.002"), ("fast", "0.004")):
        project.dvc("exp", "run", "--queue", "--name", name, *copied, "-S", f"train.lr={rate}", "train")
    try:
        # The workers keep the outputs that they were started with, so a pipe would be read until they end.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        start = ["dvc", "queue", "start", "--jobs", "2"]
        subprocess.run(start, cwd=project.folder, env=project.environment, check=True, **quiet)
        options = ("--temp", "--name", "beside", *copied, "-S", "train.lr=0.004")
        beside = project.dvc("--wait-for-lock", "exp", "run", *options, "train").stdout
        assert states(project) == {"slow": "Success", "fast": "Success"}
    finally:
        end_workers(project)
    assert len(list(project.folder.glob("*.trains"))) == 3
    logs = [beside, *(project.dvc("queue", "logs", name).stdout for name in ("slow", "fast"))]
    assert [word for word in ("resumes", "ignored", "another training") if word in "".join(logs)] == []
    assert not list(project.folder.glob(".dvc/tmp/exps/**/checkpoints"))
    assert not list(project.folder.glob("checkpoints/*/checkpoint-*"))
    assert project.run("git", "status", "--porcelain").stdout == ""
    assert project.ran(project.dvc("repro").stdout) == []  # no lock is left

    revisions = [exp_ref(project, name) for name in ("slow", "fast", "beside")]
    slow, fast, twin = (trained(project, revision) for revision in revisions)
    assert fast == twin != slow
    (project.folder / "trainings").unlink()
    project.set_param("train.lr", 0.002)
    monkeypatch.chdir(project.folder)
    project.run_here("train")
    project.dvc("commit", "--force", "train")
    assert trained(project) == slow


def test_a_command_waits_for_a_dvc_that_locks_the_project_for_longer_than_dvc_itself_waits(project, monkeypatch):
    """DVC gives up after 3 seconds."""
    monkeypatch.chdir(project.folder)
    lock = zc.lockfile.LockFile(".dvc/tmp/lock")
    threading.Timer(6, lock.close).start()
    assert run_dvc("status", "--json", capture=True).returncode == 0


def test_the_digest_of_own_files_follows_their_content(workdir):
    """A corrected label, another file of the model's folder, a member of an archive; an address has no content here."""
    (workdir / "model").mkdir()
    for name, text in (("rows.csv", "a,good"), ("model/config.json", "{}"), ("reviews.zip", "zip")):
        (workdir / name).write_text(text)
    params = {"data": {"uri": "rows.csv"}, "model": {"uri": "model"}}
    digests = [own_files_digest(params)]
    assert own_files_digest(params) == digests[0]
    (workdir / "rows.csv").write_text("a,bad")
    digests.append(own_files_digest(params))
    (workdir / "model/vocab.txt").write_text("x")
    digests.append(own_files_digest(params))
    digests.append(own_files_digest({"data": {"uri": "reviews.zip#rows.csv"}}))
    digests.append(own_files_digest({"data": {"uri": "file://rows.csv"}}))
    assert len(set(digests)) == 5
    assert "" not in digests
    assert own_files_digest({"data": {"uri": "pkg:pypi/x@1#a/b.csv"}, "model": {"uri": "hf://x/y"}}) == ""


def test_the_digest_of_settings_leaves_out_what_changes_no_score_and_what_it_is_asked_to():
    """A nested parameter too; a name that is not there changes nothing."""
    params = {"train": {"lr": 1.0, "seed": 7, "lora": {"rank": 8, "alpha": 16}}, "split": {"seed": 1}}
    digest = settings_digest(params)
    for section in ("gate", "search", "export"):
        assert settings_digest(params | {section: {"any": 1}}) == digest
    other = json.loads(json.dumps(params))
    other["train"]["lora"]["rank"] = 4
    assert settings_digest(other) != digest
    for name in ("train.lora.rank", "train.none", "none.at.all"):
        same = settings_digest(other, without=(name,)) == settings_digest(params, without=(name,))
        assert same == (name == "train.lora.rank")
