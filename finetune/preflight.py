"""Check what DVC cannot report well, before DVC starts: params.yaml, your files, Git, the folders, and DVC's list of locks.

    python -m finetune.preflight       (make repro)

DVC deletes a stage's outputs before the stage can report a mistake, and reads data/local/ before any stage runs.
"""

import os
from pathlib import Path

from finetune.base.command import run
from finetune.base.errors import UserError
from finetune.base.params import read_params
from finetune.base.terminal import say
from finetune.results.dvc_locks import remove_broken_lock_list


def check_local_files(folder: Path = Path("data/local")):
    """Raises UserError for a pipe, a device or a socket among the user's files: DVC reads them all, and would wait forever."""
    for path in sorted(folder.rglob("*")):
        if path.exists() and not path.is_file() and not path.is_dir():
            raise UserError(
                f"{path} is neither a file nor a folder, and `dvc repro` would wait for it forever; put its content into a file "
                "and remove it"
            )


def check_repository(folder: Path = Path()):
    """Raises UserError for a folder in no Git repository, such as a downloaded archive: DVC refuses to run there."""
    configs = (folder / ".dvc/config", folder / ".dvc/config.local")
    without_git = any("no_scm" in config.read_text(encoding="utf-8") for config in configs if config.is_file())
    root = folder.resolve()
    if not without_git and not any((parent / ".git").exists() for parent in (root, *root.parents)):
        raise UserError(
            "this folder is in no Git repository, which DVC needs, as a downloaded archive is not; run `git init` here, and "
            "commit its files before you compare or experiment"
        )


def check_folders(folder: Path = Path()):
    """Raises UserError for a folder of the project that cannot be written to; DVC's own error names another file."""
    for name in ("", ".dvc", ".dvc/tmp", ".dvc/cache", "data", "metrics", "models"):
        if (folder / name).is_dir() and not os.access(folder / name, os.W_OK):
            raise UserError(
                f"{name or 'this folder'} cannot be written to; make it writable, or work in a copy of the project"
            )


def main():
    read_params("data")
    check_local_files()
    check_repository()
    check_folders()
    remove_broken_lock_list()
    say("params.yaml is in order")


if __name__ == "__main__":
    raise SystemExit(run(main, usage=__doc__))
