"""How every program here starts and ends."""

import resource
import shutil
import sqlite3
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from finetune.base.command import run
from tests.support.project import PARAMS


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("tokenize", "models/base"),
        ("baseline_eval", "data/tokenized"),
        ("train", "data/tokenized/train.parquet"),
        ("evaluate", "data/tokenized"),
        ("export", "metrics/data.json"),
    ],
)
def test_a_stage_without_its_inputs_names_the_first_in_one_line(stage, missing, workdir, capsys):
    """transformers would ask the Hub for a missing folder: without a network that takes most of a minute."""
    (workdir / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    assert run(import_module(f"stages.{stage}").main) == 1
    shown = f"error: {missing} is missing; run `dvc repro`, which makes it or takes it from the cache\n"
    assert capsys.readouterr().err == shown
    assert [entry.name for entry in workdir.iterdir()] == ["params.yaml"]


def test_a_file_that_no_stage_makes_keeps_its_traceback(capsys):
    """Then the mistake is ours."""
    assert run(lambda: Path("nonesuch/file").read_text(encoding="utf-8")) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback (most recent call last):\n")
    assert shown.endswith("FileNotFoundError: [Errno 2] No such file or directory: 'nonesuch/file'\n")


def test_a_name_that_is_too_long_for_a_file_ends_in_one_line(capsys):
    assert run(lambda: Path("x" * 5_000).stat()) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: xxx")
    assert shown.endswith("x is a longer name than a file may have; shorten it\n")
    assert len(shown) <= 1_001


def test_a_folder_that_does_not_fit_on_the_disk_is_one_line(workdir, capsys):
    """The limit on the size of a file stands for a full disk. `shutil.copytree` reports its failures in a list."""
    (workdir / "models").mkdir()
    (workdir / "models/weights").write_bytes(bytes(100_000))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        assert run(lambda: shutil.copytree("models", "export")) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    shown = capsys.readouterr().err
    assert shown.startswith(
        "error: no room to write export/weights ([Errno 27] File too large: 'export/weights'); free"
    )
    assert shown.count("\n") == 1


def wrapped(database: sqlite3.Connection):
    """Fails as a library that reports the errors of its database as its own."""
    try:
        database.execute("INSERT INTO state VALUES (zeroblob(100000))")
    except sqlite3.Error as error:
        raise RuntimeError("the storage failed") from error


def test_a_database_that_does_not_fit_on_the_disk_is_one_line(workdir, capsys):
    """DVCLive opens DVC's databases. At most two pages of a database stand for a full disk."""
    database = sqlite3.connect(workdir / "state.db")
    database.execute("PRAGMA max_page_count = 2")
    database.execute("CREATE TABLE state (value BLOB)")
    assert run(lambda: database.execute("INSERT INTO state VALUES (zeroblob(100000))")) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("error: no room to write a database in .dvc (")
    assert "database or disk is full" in shown
    assert shown.count("\n") == 1
    assert run(lambda: wrapped(database)) == 1
    assert capsys.readouterr().err == shown
    assert run(lambda: database.execute("SELECT value FROM nowhere")) == 1
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")  # a bug
    database.close()


def test_a_link_to_itself_and_a_disk_that_fails_end_in_one_line(workdir, capsys):
    """Reading one's own memory from its start fails as a broken disk does, with EIO."""
    (workdir / "loop").symlink_to("loop")
    assert run(lambda: Path("loop").read_bytes()) == 1
    assert capsys.readouterr().err == "error: loop is a link that leads back to itself; remove it\n"
    assert run(lambda: Path("/proc/self/mem").read_bytes()) == 1
    shown = capsys.readouterr().err
    assert (
        shown
        == "error: the system cannot read or write a file ([Errno 5] Input/output error); check the disk it is on\n"
    )
