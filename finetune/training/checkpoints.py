"""Checkpoints of a training: complete or ignored, and used only by the same training."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from pathlib import Path

import yaml
from filelock import FileLock, Timeout
from pathspec import GitIgnoreSpec

from finetune.base.errors import UserError
from finetune.base.files import read_json
from finetune.base.terminal import say

FOLDER = Path("checkpoints")
COMPLETE = "complete.json"
FINISHED = "finished"
SHARE = 0.02  # largest share of the time that goes into writing checkpoints
SECONDS = 20  # least time between two checkpoints: less work than this is quickly repeated
PATIENCE = 60  # seconds to wait for a training that was asked to stop


def stage_key(stage: str, **more) -> str:
    """Hash of everything a stage depends on: the content of its `deps` in dvc.yaml, and `more` values.

    The deps hold data, model, code and pinned versions. Files that .dvcignore excludes do not count, as in DVC: a compiled
    file that appears between two runs must not hide the checkpoint of the first run.
    """
    digest = hashlib.sha256(json.dumps(more, sort_keys=True).encode())
    ignored = GitIgnoreSpec.from_lines(Path(".dvcignore").read_text(encoding="utf-8").splitlines())
    deps = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["deps"]
    for dep in map(Path, deps):
        for path in sorted(file for file in dep.rglob("*") if file.is_file()) if dep.is_dir() else [dep]:
            if ignored.match_file(path):
                continue
            digest.update(f"{path.as_posix()}\n".encode())
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


class Checkpoints:
    """Folders `checkpoint-<step>` of one training, in a folder named after the hash of all that the training depends on.

    A checkpoint counts only if it has its completion file, which is written last and lists the sizes of the other
    files. So the checkpoint before it survives if the process is killed or the disk is full.
    """

    def __init__(self, key: str, folder: Path = FOLDER):
        self.root, self.folder = folder, folder / key
        self.features = folder / "features"  # of frozen encoders: kept for the next training of a head
        self.written, self.cost = time.monotonic(), 0.0

    def lock(self) -> FileLock:
        """Lock on all training in this folder: a training that was asked to stop may still be writing its checkpoint.

        Prints one line if it has to wait. Raises UserError if another training holds the lock for too long.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "lock")
        with contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
            return lock
        say(f"another training is running in this folder; waiting up to {PATIENCE:g} seconds for its end", flush=True)
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise UserError(
                f"another training is running in this folder; stop it, or wait for it (it holds {self.root / 'lock'})"
            ) from None
        return lock

    def latest(self) -> Path | None:
        """Newest complete checkpoint, or None. Removes incomplete ones and reports, in one line each, what it ignores."""
        if self.root.is_dir():
            others = [
                path for path in self.root.iterdir() if path.is_dir() and path not in (self.folder, self.features)
            ]
            if others:
                say(
                    f"ignored {len(others)} checkpoint{'s' * (len(others) > 1)} in {self.root} of other data, code, "
                    f"parameters or model; `rm -r {' '.join(map(str, others))}` frees their space"
                )
        for path in sorted(self.folder.glob("checkpoint-*"), key=step_of, reverse=True):
            if is_complete(path):
                return path
            say(f"ignored {path}: it was cut short")
            shutil.rmtree(path)
        return None

    def path(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.folder / f"checkpoint-{step}"

    def due(self) -> bool:
        """Whether enough time has passed since the last checkpoint."""
        return time.monotonic() - self.written > max(SECONDS, self.cost / SHARE)

    def mark_complete(self, path: Path, started: float):
        """Marks a checkpoint as complete that was begun at `started` (time.monotonic), and deletes the older ones."""
        sizes = {file.relative_to(path).as_posix(): file.stat().st_size for file in path.rglob("*") if file.is_file()}
        scratch = path / f"{COMPLETE}.tmp"
        scratch.write_text(json.dumps(sizes), encoding="utf-8")
        os.replace(scratch, path / COMPLETE)
        for older in self.folder.glob("checkpoint-*"):
            if older != path:
                shutil.rmtree(older)
        self.written = time.monotonic()
        self.cost = self.written - started


def clear(folder: Path = FOLDER):
    """Removes the checkpoints of finished trainings; the stage after training calls it.

    Training cannot do so itself: if it were killed before DVC has tracked the model, it would start over.
    """
    for note in folder.glob(f"*/checkpoint-*/{FINISHED}"):
        shutil.rmtree(note.parent.parent)


def step_of(path: Path) -> int:
    """Number of steps done at a checkpoint, from its name: checkpoint-120 -> 120."""
    return int(path.name.removeprefix("checkpoint-"))


def is_complete(path: Path) -> bool:
    """Whether a checkpoint was written to its end and no file of it is missing or cut short."""
    try:
        sizes = read_json(path / COMPLETE)
        return all((path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
