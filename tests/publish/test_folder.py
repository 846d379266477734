"""Publishing to a folder touches nothing that it did not write, whatever lies next to the folder and whenever it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.base.errors import UserError
from finetune.publish import folder
from finetune.publish.folder import parse_destination, publish
from finetune.publish.record import SUMS, record_of, recorded
from finetune.publish.workspace import workspace
from tests.conftest import ROOT

FILES = {"README.md": b"a card", "onnx/model.onnx": b"weights", "tokenizer.json": b"{}"}


def written(place: Path, files: dict[str, bytes]) -> Path:
    """A folder with these files."""
    for name, content in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def found(place: Path) -> dict[str, bytes | str]:
    """Everything below a folder: content of files, and where links lead."""
    return {
        path.relative_to(place).as_posix(): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in place.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def published(files: dict[str, bytes], place: Path) -> bool:
    """Whether a folder holds exactly these files and their record."""
    content = found(place)
    return bool(recorded(content.pop(SUMS))) and content == files


@pytest.fixture
def export(tmp_path) -> Path:
    return written(tmp_path / "export", FILES)


@pytest.fixture
def around(tmp_path) -> Path:
    """The folder that holds the destination `out`."""
    (tmp_path / "around").mkdir()
    return tmp_path / "around"


def test_a_record_reads_back_and_no_other_list_passes_for_one():
    sums = {"a  b.txt": "0" * 64, "sub/\u2028.txt": "1" * 64}
    assert recorded(record_of(sums)) == sums
    assert recorded(record_of(sums) + b"2  c.txt\n") == recorded(b"") == recorded(b"\xff\n\xff") == {}


def test_foreign_neighbours_with_likely_names_stay(export, around, tmp_path):
    precious = written(tmp_path / "precious", {"thesis.txt": b"years of work"})
    for name in (".out.publishing", ".out.publishing-link"):
        (around / name).symlink_to(precious)
    for name in (".out.before", ".out.publishing-mine", ".out.publishing-x/new", ".out.publishing-y/before"):
        written(around / name, {"thesis.txt": b"years of work"})
    before = found(around)
    for _ in range(2):
        line = publish(export, around / "out")
        assert str(around / ".out.publishing-mine") in line
        assert published(FILES, around / "out")
        assert {name: content for name, content in found(around).items() if not name.startswith("out/")} == before
        assert found(precious) == {"thesis.txt": b"years of work"}


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "pipe"])
def test_a_destination_that_is_a_link_or_no_folder_is_refused(around, tmp_path, kind):
    precious = written(tmp_path / "precious", {})
    target = around / "out"
    if kind == "file":
        target.write_text("mine")
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target.symlink_to(precious if kind == "link" else tmp_path / "nowhere")
    for spelling in (str(target), f"{target}/"):
        with pytest.raises(UserError, match="is not a folder"):
            parse_destination(spelling)
    assert os.path.lexists(target)


def test_a_link_in_the_path_above_is_resolved(export, around, tmp_path):
    (tmp_path / "link").symlink_to(around)
    destination = parse_destination(str(tmp_path / "link/out"))
    assert destination == around / "out"
    publish(export, destination)
    assert published(FILES, around / "out")
    # `..` after a link means the folder above its target, as for the system.
    assert parse_destination(str(tmp_path / "link/../other")) == around.parent / "other"
    (around / "deep").mkdir()
    (tmp_path / "deep-link").symlink_to(around / "deep")
    assert parse_destination(str(tmp_path / "deep-link/../out")) == around / "out"


def link_for_a_file(out: Path):
    (out / "README.md").rename(out.parent / "card")
    (out / "README.md").symlink_to(out.parent / "card")


def link_for_a_folder(out: Path):
    (out / "onnx").rename(out.parent / "onnx")
    (out / "onnx").symlink_to(out.parent / "onnx")


def link_for_the_record(out: Path):
    (out / SUMS).rename(out.parent / SUMS)
    (out / SUMS).symlink_to(out.parent / SUMS)


@pytest.mark.parametrize("change", [link_for_a_file, link_for_a_folder, link_for_the_record])
def test_a_publication_in_which_a_link_replaces_a_part_is_not_unmodified(export, around, change):
    publish(export, around / "out")
    change(around / "out")
    before = found(around)
    with pytest.raises(UserError, match="choose a folder that does not exist, is empty, or holds an unmodified"):
        publish(export, around / "out")
    assert found(around) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from finetune.publish import folder

count, real = [], Path.rename
def rename(self, target):
    if len(count) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    count.append(target)
    return real(self, target)
Path.rename = rename
folder.publish(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("moment", range(7))
def test_a_kill_before_any_rename_loses_nothing_and_the_next_try_works(export, around, tmp_path, moment):
    """The renames: the record and three files into the new copy, the earlier copy away, the new one in; then it ends."""
    old = {"README.md": b"an old card", "old.bin": b"old"}
    publish(written(tmp_path / "old", old), around / "out")
    command = [sys.executable, "-c", KILLED, str(export), str(around / "out"), str(moment)]
    ended = subprocess.run(command, cwd=ROOT, check=False).returncode
    if moment == 6:
        assert (ended, [path.name for path in around.iterdir()]) == (0, ["out"])
        return
    assert ended == -signal.SIGKILL
    kept = around / "out" if moment < 5 else next(around.glob(".out.publishing-*/before"))
    assert published(old, kept)
    assert publish(export, around / "out").endswith("`sha256sum --check SHA256SUMS`")  # nothing was left to report
    assert [path.name for path in around.iterdir()] == ["out"]
    assert published(FILES, around / "out")


def test_an_earlier_copy_that_a_killed_run_had_begun_to_delete_is_removed(export, around):
    left = around / ".out.publishing-abc"
    publish(export, around / "out")
    publish(export, left / "before")
    (left / "before/README.md").unlink()
    assert publish(export, around / "out").endswith("`sha256sum --check SHA256SUMS`")  # nothing was left to report
    assert [path.name for path in around.iterdir()] == ["out"]
    assert published(FILES, around / "out")


def test_what_a_killed_run_left_and_somebody_edited_is_kept_and_reported(export, around):
    left = around / ".out.publishing-abc"
    publish(export, left / "new")
    (left / "new/README.md").write_text("notes of mine")
    before = found(left)
    assert f"; kept {left}, which holds other or changed files" in publish(export, around / "out")
    assert found(left) == before


def test_a_failure_while_the_next_copy_is_made_restores_the_earlier_one(export, around, monkeypatch):
    """The state after a kill between the renames; then the disk is full."""
    publish(export, around / ".out.publishing-abc/before")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folder.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        publish(export, around / "out")
    assert [path.name for path in around.iterdir()] == ["out"]
    assert published(FILES, around / "out")


def test_the_folder_of_a_publication_that_is_running_is_left_alone(export, around):
    with workspace(around / "out") as work:
        written(work / "new", {SUMS: record_of({})})
        assert "kept" not in publish(export, around / "out")
        assert (work / "new").is_dir()
    assert [path.name for path in around.iterdir()] == ["out"]


def test_two_publications_at_once_leave_one_complete_copy(around, tmp_path):
    sources = [written(tmp_path / str(number), {"a": b"%d" % number * 1000, "b": b"x"}) for number in range(2)]
    script = (
        "import sys; from pathlib import Path; from finetune.base.command import run; from finetune.publish import folder\n"
        "def main():\n    for _ in range(40): folder.publish(Path(sys.argv[1]), Path(sys.argv[2]))\n"
        "raise SystemExit(run(main))"
    )
    command = [sys.executable, "-c", script]
    running = [
        subprocess.Popen([*command, str(source), str(around / "out")], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for source in sources
    ]
    errors = [process.communicate(timeout=120)[1] for process in running]
    assert all(error == "" or "in the meantime; look at it and publish again" in error for error in errors), errors
    assert all(error.count("\n") <= 1 for error in errors)
    assert any(published(found(source), around / "out") for source in sources)
    publish(sources[0], around / "out")  # removes the copy of one that found its place taken
    assert [path.name for path in around.iterdir()] == ["out"]


def test_what_is_written_to_the_old_copy_during_the_publication_is_kept(export, around, monkeypatch):
    publish(export, around / "out")
    real = folder.copy_with_record

    def copy_and_write(source, work):
        real(source, work)
        (around / "out/thesis.txt").write_text("years of work")

    monkeypatch.setattr(folder, "copy_with_record", copy_and_write)
    line = publish(export, around / "out")
    assert published(FILES, around / "out")
    (kept,) = (path for path in around.iterdir() if path.name != "out")
    assert str(kept) in line
    assert (kept / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_appears_at_the_destination_during_the_publication_is_kept(export, around, tmp_path, monkeypatch, kind):
    real = folder.copy_with_record
    elsewhere = tmp_path / "elsewhere"
    publish(export, elsewhere)

    def copy_and_appear(source, work):
        real(source, work)
        if kind == "link":
            (around / "out").symlink_to(elsewhere)
        else:
            (around / "out").write_text("years of work")

    monkeypatch.setattr(folder, "copy_with_record", copy_and_appear)
    line = publish(export, around / "out")
    assert published(FILES, around / "out")
    assert published(FILES, elsewhere)
    (kept,) = (path for path in around.iterdir() if path.name != "out")
    assert f"; kept {kept}, which" in line
    assert kept.is_symlink() if kind == "link" else kept.read_text() == "years of work"
