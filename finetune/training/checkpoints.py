"""Checkpoints of a training that was stopped: complete or not there, used only by the very same training."""

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

FOLDER = Path("checkpoints")
COMPLETE = "complete.json"
FINISHED = "finished"
SHARE = 0.02  # of the time, at most, goes into writing checkpoints
SECONDS = 20  # between two checkpoints at least: less work than this is quickly done again
PATIENCE = 60  # seconds in which a training that was told to stop should have


def stage_key(stage: str, **more) -> str:
    """Hash of everything a stage depends on: the content of its `deps` in dvc.yaml, and `more` values.

    The deps hold data, model, code and pinned versions. Files that .dvcignore excludes do not count, as in DVC: a compiled
    file that appears between two runs must not hide the checkpoint of the first.
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
    """Folders `checkpoint-<step>` of one training, under a folder named after all that it depends on.

    A checkpoint counts only with its note of completion, which is written last and lists the sizes of
    its files; so a process that is killed, or a disk that fills up, leaves the one before.
    """

    def __init__(self, key: str, folder: Path = FOLDER):
        self.root, self.folder = folder, folder / key
        self.features = folder / "features"  # of frozen encoders: no checkpoints, and worth keeping
        self.written, self.cost = time.monotonic(), 0.0

    def lock(self) -> FileLock:
        """Lock on all training in this folder: one that was told to stop may still be writing its checkpoint."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "lock")
        try:
            lock.acquire(timeout=PATIENCE)
        except Timeout:
            raise UserError(
                f"another training is running in this folder; stop it, or wait for it (it holds {self.root / 'lock'})"
            ) from None
        return lock

    def latest(self) -> Path | None:
        """Newest complete checkpoint; what is of no use is named in one line, and what was cut short is removed."""
        if self.root.is_dir():
            others = [
                path for path in self.root.iterdir() if path.is_dir() and path not in (self.folder, self.features)
            ]
            if others:
                print(
                    f"ignored {len(others)} checkpoint{'s' * (len(others) > 1)} in {self.root} of other data, code, "
                    f"parameters or model; `rm -r {' '.join(map(str, others))}` frees their space"
                )
        for path in sorted(self.folder.glob("checkpoint-*"), key=step_of, reverse=True):
            if is_complete(path):
                return path
            print(f"ignored {path}: it was cut short")
            shutil.rmtree(path)
        return None

    def path(self, step: int) -> Path:
        """Folder of a step's checkpoint."""
        return self.folder / f"checkpoint-{step}"

    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() - self.written > max(SECONDS, self.cost / SHARE)

    def mark_complete(self, path: Path, started: float):
        """Declares a checkpoint complete that was begun at `started` (time.monotonic) and drops the older ones."""
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
    """Removes the checkpoints of trainings that are through: the stage after training calls it.

    Training cannot do so itself: killed after that, before DVC has tracked the model, it would start over.
    """
    for note in folder.glob(f"*/checkpoint-*/{FINISHED}"):
        shutil.rmtree(note.parent.parent)


def step_of(path: Path) -> int:
    """Number of steps done at a checkpoint: checkpoint-120 -> 120."""
    return int(path.name.removeprefix("checkpoint-"))


def is_complete(path: Path) -> bool:
    """Whether a checkpoint was written to its end and nothing of it is missing."""
    try:
        sizes = read_json(path / COMPLETE)
        return all((path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
