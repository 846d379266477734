"""Publishes to a folder, with checksums; if that fails, the folder keeps its earlier content."""

import contextlib
import os
import shutil
from pathlib import Path

from finetune.base.errors import MADE_BY_STAGES, UserError
from finetune.publish.record import REPLACEABLE, SUMS, checksum, modification, record_of, recorded, relative_files
from finetune.publish.workspace import BEFORE, NEW, PART, leftovers, workspace

MOST_READS = 100  # of a folder that others replace at the same time


def parse_destination(path: str) -> Path:
    """The folder at a path. Links in the path above it are resolved: one must not lead into the exported folder.

    Raises UserError if it holds this project, as `.` and `/` do, or if something else than a folder lies there. A link is
    refused as well: what it leads to has another name, and may have another owner.
    """
    named = os.path.expanduser(path).rstrip("/") or "/"
    above, name = os.path.split(named)
    target, here = Path(os.path.realpath(named)), Path.cwd()
    destination = target if name in ("", ".", "..") else Path(os.path.realpath(above or ".")) / name
    if target == here or target in here.parents:
        raise UserError(f"cannot publish to {path}, which holds this project; choose a folder of its own for the model")
    inside = destination.relative_to(here).parts if destination.is_relative_to(here) else ()
    own = inside[:1] and inside[0] in (*MADE_BY_STAGES, ".dvc", ".git")
    if own and inside[:2] != ("models", "export"):  # which has a line of its own
        raise UserError(
            f"cannot publish to {path}: {inside[0]}/ is the pipeline's own; choose a folder of its own for the model"
        )
    if destination.is_symlink():
        raise UserError(
            f"{destination} is not a folder but a link to {os.readlink(destination)}; name the folder itself"
        )
    if destination.exists() and not destination.is_dir():
        raise UserError(f"{destination} is not a folder; choose one that is empty or does not exist")
    return destination


def publish(export: Path, destination: Path) -> str:
    """Copies the exported folder to `destination`, replacing an earlier copy; returns a line that says where it is.

    Raises UserError if the folder holds anything else, including an earlier copy with added or changed files.
    """
    if destination == export.resolve() or export.resolve() in destination.parents:
        raise UserError(f"cannot publish into {export}, the folder being published; choose a folder elsewhere")
    destination.parent.mkdir(parents=True, exist_ok=True)
    kept = leftovers(destination, difference)
    if what := settled_difference(destination):
        raise UserError(f"{destination} {what}; choose a folder that {REPLACEABLE}")
    with workspace(destination) as work:
        copy_with_record(export, work)
        kept += exchange(work, destination)
    also = f"; kept {', '.join(map(str, kept))}, which holds other or changed files" if kept else ""
    return f"published to {destination}; check it there with `sha256sum --check {SUMS}`{also}"


def settled_difference(folder: Path) -> str | None:
    """`difference` of a folder that no other publication replaced while it was read: its record and files are of one copy."""
    for _ in range(MOST_READS):
        before, what = identity(folder), None
        with contextlib.suppress(FileNotFoundError):  # a file went with its folder
            what = difference(folder)
        if identity(folder) == before:
            break
    return what


def identity(folder: Path) -> tuple[int, int] | None:
    """Number of a folder on its disk, and when it was last changed or renamed; None if there is none."""
    try:
        found = folder.lstat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def difference(folder: Path, complete: bool = True) -> str | None:
    """How a folder differs from an unmodified publication, in words; None if it does not, is empty or is missing.

    Unless `complete`, files of the publication may be missing.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        return "is a link or no folder"
    # Folders and links too: replacing the publication would delete them all.
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    record = folder / SUMS
    sums = recorded(record.read_bytes()) if record.is_file() and not record.is_symlink() else {}
    needed = {above.as_posix() for name in sums for above in Path(name).parents}
    present = {
        name: checksum(path) if name in sums and path.is_file() and not path.is_symlink() else None
        for name, path in paths.items()
        if name not in needed or path.is_symlink()
    }
    if sums and not complete:
        sums = {name: sum_ for name, sum_ in sums.items() if name in present}
        present.pop(SUMS)
    return modification(sums, present)


def copy_with_record(source: Path, work: Path):
    """Copies a folder to `work`/new, with its record, and flushes the copy to disk.

    The record comes first, and each file arrives under its name when it is complete, so a copy that was killed can be told
    from other files too. Raises UserError if a file changes while it is copied.
    """
    new, part = work / NEW, work / PART
    new.mkdir()
    sums = {name: checksum(source / name) for name in relative_files(source)}
    part.write_bytes(record_of(sums))
    flush(part)
    part.rename(new / SUMS)
    for name, sum_ in sums.items():
        copy = new / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, part)  # without permissions: whoever may read the folder may read its files
        if checksum(part) != sum_:
            raise UserError(f"not published: {source / name} changed while it was copied; publish again")
        flush(part)
        part.rename(copy)
    for folder in (*(path for path in new.rglob("*") if path.is_dir()), new):
        flush(folder)


def flush(path: Path):
    """Writes a file or the names in a folder to disk."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def exchange(work: Path, destination: Path) -> list[Path]:
    """Moves the new copy to the destination and deletes what was there; returns what must be kept instead of deleted.

    Raises UserError if something else arrived at the destination in the meantime; that stays, and nothing is lost.
    """
    new, before = work / NEW, work / BEFORE
    # Python cannot swap two folders atomically. For an instant between these renames there is no folder at the destination,
    # but both copies lie beside it. A rename follows no link, and replaces no folder that holds something.
    with contextlib.suppress(FileNotFoundError):  # the first publication, or another one is between its two renames
        destination.rename(before)
    try:
        new.rename(destination)
    except OSError as error:
        if os.path.lexists(destination):
            raise UserError(
                f"not published: something else was written to {destination} in the meantime; look at it and publish again"
            ) from error
        raise
    flush(destination.parent)
    # Somebody may have written to the old copy after the check, or while it was moved.
    if difference(before):
        kept = destination.with_name(f"{work.name.removeprefix('.')}-{BEFORE}")
        before.rename(kept)
        return [kept]
    return []
