"""Two clones that share results through a remote, DVC's record of runs included."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.project import Project
from tests.support.s3_server import bucket_keys, s3_endpoint

METRICS = ("metrics/train.json", "metrics/test.json", "metrics/export.json")


@pytest.fixture
def s3():
    with s3_endpoint() as endpoint:
        yield endpoint


def share(project: Project, direction: str, **environment: str) -> subprocess.CompletedProcess:
    return project.run("python", "-m", "finetune.share", direction, check=False, **environment)


def clone(project: Project, folder: Path) -> Project:
    """A colleague's clone: no cache, no data."""
    folder.parent.mkdir()
    project.run("git", "clone", "-q", str(project.folder), str(folder))
    return Project(folder)


def cache_path(file: Path) -> str:
    """Where a file lies below a remote."""
    digest = hashlib.md5(file.read_bytes()).hexdigest()
    return f"files/md5/{digest[:2]}/{digest[2:]}"


def without_cache(project: Project):
    """Removes everything that only this clone has."""
    for name in (".dvc/cache", ".dvc/tmp", "models", "data/raw", "data/tokenized", "data/teacher", "data/predictions"):
        shutil.rmtree(project.folder / name, ignore_errors=True)


def test_a_run_of_one_clone_is_not_run_again_in_another(project, tmp_path, s3):
    project.dvc("remote", "add", "--default", "store", "s3://models/cache")
    project.run("git", "add", "-f", "data/local")
    project.commit("Name the remote")
    remote = s3.environment
    # A change that nobody commits: only the record of its run tells the others.
    project.set_param("train.lr", 0.004)
    assert project.ran(project.dvc("repro").stdout) == ["train", "evaluate", "export"]
    made = [project.read(name) for name in METRICS]
    project.run("git", "restore", "metrics", "params.yaml", "dvc.lock")
    project.dvc("checkout")

    # A file of several directories: the lists of all of them must stay back, or the file is never sent again.
    tokenizer = cache_path(project.folder / "models/export/tokenizer.json")
    with s3.cut_in_the_middle(f"/models/cache/{tokenizer}") as cut:
        failed = share(project, "push", **remote | {"AWS_ENDPOINT_URL": cut.url, "AWS_MAX_ATTEMPTS": "1"})
    assert cut.broken
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: ")
    # The servers of one process share their buckets, so the bucket may hold what another test has sent.
    sent = [key for key in bucket_keys(s3, "models") if key.startswith("cache/")]
    assert sent
    assert not any("/runs/" in key or key.endswith(".dir") for key in sent)
    pushed = share(project, "push", **remote)
    assert pushed.returncode == 0, pushed.stderr
    assert pushed.stdout.startswith("the remote holds the results of 10 runs of a stage; ")

    other = clone(project, tmp_path / "other" / "project")
    pulled = share(other, "pull", **remote)
    assert pulled.returncode == 0, pulled.stderr
    assert "not in the remote" not in pulled.stdout
    assert other.dvc("status").stdout == "Data and pipelines are up to date.\n"
    other.set_param("train.lr", 0.004)
    output = other.dvc("repro", "--pull", **remote).stdout
    assert other.ran(output) == []
    assert output.count("is cached - skipping run, checking out outputs") == 3
    assert [other.read(name) for name in METRICS] == made
    assert (other.folder / "models/export/config.json").exists()


def test_outputs_that_nobody_pushed_are_counted(project, tmp_path):
    project.dvc("remote", "add", "--default", "store", str(tmp_path / "store"))
    project.commit("Name the remote")
    project.dvc("push", "download", "tokenize")
    without_cache(project)
    pulled = share(project, "pull")
    assert pulled.returncode == 0, pulled.stderr
    # baseline_eval and evaluate have files of their own; teach, train and export have one folder each
    assert (
        "9 outputs of this commit are not in the remote, or are damaged there, and `make repro` makes them"
        in pulled.stdout
    )
    assert (project.folder / "data/tokenized/train.parquet").exists()


def test_a_file_that_the_remote_lost_is_sent_again(project, tmp_path):
    store = tmp_path / "store"
    project.dvc("remote", "add", "--default", "store", str(store))
    assert share(project, "push").returncode == 0
    # One file of a directory whose list is there: `dvc push` takes such a directory as complete.
    lost = store / cache_path(project.folder / "models/export/tokenizer.json")
    lost.unlink()
    assert "Everything is up to date" in project.dvc("push").stdout
    assert share(project, "push").stdout.endswith("; 1 files were new to it\n")
    assert lost.exists()


def test_a_record_whose_name_leads_out_of_the_cache_is_refused_before_anything_is_fetched(project, s3):
    """DVC writes a record to the path that its name says: here onto a module that Python would import."""
    # Not the place of another test: the servers of one process share their buckets.
    project.dvc("remote", "add", "--default", "store", "s3://models/records")
    assert share(project, "push", **s3.environment).returncode == 0
    s3.write("models", "records/runs/zz/zz/../../../../../yaml.py", b"print('from the remote')")
    without_cache(project)
    for direction in ("pull", "check"):
        done = share(project, direction, **s3.environment)
        assert done.returncode == 1
        assert done.stderr.startswith("error: the remote holds a file whose name leads out of the cache, '")
        assert done.stderr.count("\n") == 1
    assert not (project.folder / "yaml.py").exists()
    assert not (project.folder / ".dvc/cache").exists()


@pytest.mark.parametrize("damage", [b"", b"other weights"])
def test_a_damaged_file_of_the_remote_is_not_taken_for_the_model(project, tmp_path, damage):
    store = tmp_path / "store"
    project.dvc("remote", "add", "--default", "store", str(store))
    assert share(project, "push").returncode == 0
    weights = store / cache_path(project.folder / "models/export/model.safetensors")
    weights.chmod(0o644)
    weights.write_bytes(damage)
    without_cache(project)
    pulled = share(project, "pull")
    assert pulled.returncode == 0, pulled.stderr
    # models/finetuned and models/export hold the same weights
    assert "; 2 outputs of this commit are not in the remote, or are damaged there" in pulled.stdout
    assert not (project.folder / "models/export/model.safetensors").exists()
    project.dvc("pull", "models/export")  # takes the file as it is
    assert (project.folder / "models/export/model.safetensors").read_bytes() == damage
    refused = project.run("python", "-m", "finetune.publish", str(tmp_path / "out"), check=False)
    assert refused.stderr.startswith(
        "error: not published: models/export/model.safetensors is damaged; remove it and DVC's copy"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("direction", ["push", "pull"])
def test_a_remote_that_is_missing_or_cannot_be_reached_gets_one_line(project, direction):
    done = share(project, direction)
    assert done.returncode == 1
    assert (
        done.stderr
        == "error: no DVC remote is configured; name one: dvc remote add --default storage s3://bucket/path\n"
    )
    project.dvc("remote", "add", "--default", "store", "s3://models/cache")
    nobody = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    done = share(project, direction, **nobody)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: the remote cannot be used (")
    assert "Traceback" not in done.stderr
