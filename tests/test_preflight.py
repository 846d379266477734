"""What is checked before DVC starts."""

import os
import subprocess
import sys
import threading

import pytest

from finetune.base.errors import UserError
from finetune.preflight import check_folders, check_repository
from finetune.results.dvc_locks import remove_broken_lock_list
from tests.conftest import ROOT


def test_a_pipe_among_the_users_files_is_refused_before_dvc_waits_for_it(workdir):
    (workdir / "params.yaml").write_text((ROOT / "docs/default_run/params.yaml").read_text())
    (workdir / ".git").mkdir()
    (workdir / "data/local/folder").mkdir(parents=True)
    (workdir / "data/local/folder/reviews.csv").write_text("text,label\n")
    (workdir / "data/local/link.csv").symlink_to("folder/reviews.csv")
    command = [sys.executable, "-m", "finetune.preflight"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "params.yaml is in order\n"
    os.mkfifo(workdir / "data/local/folder/pipe.csv")
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: data/local/folder/pipe.csv is neither a file nor a folder, and `dvc repro` would wait for it forever; "
        "put its content into a file and remove it\n"
    )


def test_a_folder_without_git_is_one_line_before_dvc_starts(workdir):
    """As a downloaded archive; also in a subfolder of a repository, and where DVC is set up without Git, it runs."""
    with pytest.raises(
        UserError, match=r"^this folder is in no Git repository, .*; run `git init` here, and commit its files"
    ):
        check_repository(workdir)
    (workdir / ".dvc").mkdir()
    (workdir / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    check_repository(workdir)
    (workdir / ".dvc/config").write_text("[core]\n    analytics = false\n")
    with pytest.raises(UserError):
        check_repository(workdir)
    (workdir / ".git").mkdir()
    (workdir / "part").mkdir()
    check_repository(workdir / "part")


def test_a_folder_that_cannot_be_written_to_is_named_before_dvc_starts(workdir, monkeypatch):
    """Root may write everywhere, so the answer of the system is simulated."""
    (workdir / ".dvc/tmp").mkdir(parents=True)
    check_folders(workdir)
    monkeypatch.setattr(os, "access", lambda path, _: path != workdir / ".dvc/tmp")
    with pytest.raises(UserError, match=r"^\.dvc/tmp cannot be written to; make it writable"):
        check_folders(workdir)
    monkeypatch.setattr(os, "access", lambda path, _: path != workdir)
    with pytest.raises(UserError, match=r"^this folder cannot be written to; make it writable"):
        check_folders(workdir)


@pytest.mark.parametrize("content", ["", '{"write": {"/a/b": {"pid": 1'])
def test_a_list_of_locked_files_that_was_cut_off_is_removed(workdir, content, capsys):
    """What a full disk leaves of DVC's list: nothing, or its beginning."""
    path = workdir / "rwlock"
    path.write_text(content, encoding="utf-8")
    remove_broken_lock_list(path)
    assert not path.exists()
    assert (
        capsys.readouterr().out == f"removed {path}: DVC's list of locked files was cut off, which a full disk does\n"
    )


def test_a_list_of_locked_files_that_another_dvc_is_writing_stays(workdir, capsys):
    path = workdir / "rwlock"
    path.write_text("", encoding="utf-8")
    writer = threading.Timer(0.3, path.write_text, ['{"write": {}, "read": {}}'])
    writer.start()
    remove_broken_lock_list(path)
    writer.join()
    assert path.read_text() == '{"write": {}, "read": {}}'
    remove_broken_lock_list(workdir / "none")
    assert capsys.readouterr().out == ""
