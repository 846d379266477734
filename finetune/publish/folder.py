"""Publishes to a folder, with checksums; if that fails, the folder keeps its earlier content."""

import hashlib
import os
import shutil
from pathlib import Path

from finetune.base.errors import UserError

SUMS = "SHA256SUMS"  # in the format of `sha256sum --check`
# First line of our list, a comment for `sha256sum`. It holds the checksum of the lines below it, so no other list passes for ours.
MARK = "# This list was written by finetune.publish: {}"


def parse_destination(path: str) -> Path:
    """The folder at a path, with links resolved: a link must not lead into the exported folder.

    Raises UserError if it holds this project, as `.` and `/` do, or if something else than a folder lies there.
    """
    destination = Path(os.path.realpath(os.path.expanduser(path)))
    here = Path.cwd()
    if destination == here or destination in here.parents:
        raise UserError(f"cannot publish to {path}, which holds this project; choose a folder of its own for the model")
    if destination.is_symlink() or (destination.exists() and not destination.is_dir()):
        raise UserError(f"{destination} is not a folder; choose one that is empty or does not exist")
    return destination


def publish(export: Path, destination: Path) -> str:
    """Copies the exported folder to `destination`, replacing an earlier copy; returns a line that says where it is.

    Raises UserError if the folder holds anything else, including an earlier copy with added or changed files.
    """
    if destination == export.resolve() or export.resolve() in destination.parents:
        raise UserError(f"cannot publish into {export}, the folder being published; choose a folder elsewhere")
    # Siblings, because a rename is atomic only within a file system. Leftovers of a killed run are replaced.
    new, old = (destination.with_name(f".{destination.name}.{word}") for word in ("publishing", "before"))
    if old.exists() and not destination.exists():
        old.rename(destination)  # a run was killed between its two renames
    check_destination(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        copy_with_sums(export, new)
        # Python cannot swap two folders atomically. For an instant between these renames there is no folder at the
        # destination, but both copies lie beside it.
        if destination.exists():
            destination.rename(old)
        new.rename(destination)
    except BaseException:
        if old.exists() and not destination.exists():
            old.rename(destination)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
    return f"published to {destination}; check it there with `sha256sum --check {SUMS}`"


def check_destination(destination: Path):
    """Raises UserError unless the destination is missing, empty, or an earlier copy without any change."""
    if not destination.exists():
        return
    # Folders and links too: replacing the earlier copy would delete them all.
    present = {path.relative_to(destination).as_posix(): path for path in destination.rglob("*")}
    if not present:
        return
    listed = earlier_sums(destination)
    ours = {SUMS, *listed, *(folder.as_posix() for name in listed for folder in Path(name).parents)}
    foreign = sorted(name for name, path in present.items() if name not in ours or path.is_symlink())
    changed = [
        name
        for name, sum_ in listed.items()
        if not present.get(name, destination).is_file() or checksum(present[name]) != sum_
    ]
    if not listed or foreign or changed:
        if SUMS in present and not listed:
            what = f"holds a {SUMS} that this version did not write or that was edited since"
        elif foreign:
            what = f"holds {foreign[0]}, which was not published there"
        else:
            what = f"was published, but {changed[0]} has changed since"
        raise UserError(
            f"{destination} {what}; choose a folder that is empty, does not exist, or holds an unmodified earlier publication"
        )


def earlier_sums(folder: Path) -> dict[str, str]:
    """Checksums of an earlier publication by relative path; empty unless the list is, byte for byte, one that we wrote."""
    sums = folder / SUMS
    first, _, rest = sums.read_bytes().partition(b"\n") if sums.is_file() else (b"", b"", b"")
    try:
        text = rest.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    if first != mark(text).encode():
        return {}
    return {name: sum_ for sum_, _, name in (line.partition("  ") for line in text.splitlines())}


def mark(lines: str) -> str:
    """First line of a list of checksums, computed from the lines below it."""
    return MARK.format(hashlib.sha256(lines.encode()).hexdigest())


def checksum(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def relative_files(folder: Path) -> list[str]:
    """Relative paths of all files below a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def copy_with_sums(source: Path, destination: Path):
    """Copies a folder, adds the list of checksums, and flushes the files to disk."""
    lines = []
    for name in relative_files(source):
        copy = destination / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, copy)  # without permissions: whoever may read the folder may read its files
        lines.append(f"{checksum(copy)}  {name}\n")
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    text = "".join(lines)
    (destination / SUMS).write_text(f"{mark(text)}\n{text}", encoding="utf-8")
