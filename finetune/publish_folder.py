"""The exported model in a folder of its own, with checksums: the whole folder, or what was there before."""

import hashlib
import os
import shutil
from pathlib import Path

from finetune.errors import UserError

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it; by it, what we wrote is told from what others did


def place(to: str) -> Path:
    """The folder, as a whole path."""
    return Path(os.path.abspath(Path(to).expanduser()))


def publish(export: Path, target: Path) -> str:
    """Copies the exported folder to `target`, in place of an earlier copy; says where it is now.

    Raises UserError when something else stands there, also a file that somebody added to an earlier copy.
    """
    if target == export.resolve() or export.resolve() in target.parents:
        raise UserError(f"cannot publish into {export}, which is what is to be published; name a folder elsewhere")
    check_place(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Siblings, because a rename is one step only within a file system. What a killed run left of them is made anew.
    new, old = (target.with_name(f".{target.name}.{word}") for word in ("publishing", "before"))
    if old.exists() and not target.exists():
        old.rename(target)  # a run was killed between its two renames
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        copy_with_sums(export, new)
        # Python has no call that swaps two folders: between these two there is none, for an instant, and both lie beside it.
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return f"published to {target}; check it there with `sha256sum --check {SUMS}`"


def check_place(target: Path):
    """Raises UserError unless the place is free, empty, or an earlier copy with nothing added."""
    if not target.exists() and not target.is_symlink():
        return
    if target.is_symlink() or not target.is_dir():
        raise UserError(f"{target} is no folder; name one that is empty or does not exist")
    found = set(relative_files(target))
    sums = target / SUMS
    if not found and not any(target.iterdir()):
        return
    known = (
        {line.partition("  ")[2] for line in sums.read_text(encoding="utf-8").splitlines()} if sums.is_file() else set()
    )
    foreign = sorted(found - known - {SUMS})
    if not known or foreign:
        what = f"holds {foreign[0]}, which was not published there" if foreign else "is in use"
        raise UserError(
            f"{target} {what}; name a folder that is empty, does not exist, or holds an earlier publication"
        )


def relative_files(folder: Path) -> list[str]:
    """Paths of all files below a folder, from it, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def copy_with_sums(source: Path, target: Path):
    """A copy of a folder on the disk, its checksums among the files."""
    names = relative_files(source)
    lines = []
    for name in names:
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, copy)  # whoever may read the folder may read the files
        with copy.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
            os.fsync(file.fileno())
    (target / SUMS).write_text("".join(lines), encoding="utf-8")
