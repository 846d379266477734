"""The exported model in a folder of its own, with checksums: the whole folder, or what was there before."""

import hashlib
import os
import shutil
from pathlib import Path

from finetune.base.errors import UserError

SUMS = "SHA256SUMS"  # as `sha256sum --check` reads it
# First line of our list, a comment to `sha256sum`. With the checksum of the lines below it, nobody else writes it by chance.
MARK = "# This list was written by finetune.publish: {}"


def parse_destination(path: str) -> Path:
    """The folder that a path stands for, links followed: a link must not lead into what is to be published."""
    return Path(os.path.realpath(os.path.expanduser(path)))


def publish(export: Path, destination: Path) -> str:
    """Copies the exported folder to `destination`, in place of an earlier copy; says where it is now.

    Raises UserError when something else stands there, also an earlier copy in which somebody added or changed a file.
    """
    if destination == export.resolve() or export.resolve() in destination.parents:
        raise UserError(f"cannot publish into {export}, which is what is to be published; name a folder elsewhere")
    # Siblings, because a rename is one step only within a file system. What a killed run left of them is made anew.
    new, old = (destination.with_name(f".{destination.name}.{word}") for word in ("publishing", "before"))
    if old.exists() and not destination.exists():
        old.rename(destination)  # a run was killed between its two renames
    check_destination(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        copy_with_sums(export, new)
        # Python has no call that swaps two folders: between these two there is none, for an instant, and both lie beside it.
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
    """Raises UserError unless the place is free, empty, or an earlier copy with nothing added, changed or taken out."""
    if not destination.exists() and not destination.is_symlink():
        return
    if destination.is_symlink() or not destination.is_dir():
        raise UserError(f"{destination} is no folder; name one that is empty or does not exist")
    # Folders and links too: with the earlier copy, all of them would go.
    found = {path.relative_to(destination).as_posix(): path for path in destination.rglob("*")}
    if not found:
        return
    listed = earlier_sums(destination)
    ours = {SUMS, *listed, *(folder.as_posix() for name in listed for folder in Path(name).parents)}
    foreign = sorted(name for name, path in found.items() if name not in ours or path.is_symlink())
    changed = [
        name
        for name, sum_ in listed.items()
        if not found.get(name, destination).is_file() or checksum(found[name]) != sum_
    ]
    if not listed or foreign or changed:
        if SUMS in found and not listed:
            what = f"holds a {SUMS} that this version did not write, or that was changed since"
        elif foreign:
            what = f"holds {foreign[0]}, which was not published there"
        else:
            what = f"was published, but {changed[0]} is no longer as it was then"
        raise UserError(
            f"{destination} {what}; name a folder that is empty, does not exist, or holds an earlier publication as it was made"
        )


def earlier_sums(folder: Path) -> dict[str, str]:
    """Checksums of an earlier publication in a folder, by path from there; none where the list is not ours, byte for byte."""
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
    """First line of a list of checksums, from the lines that follow it."""
    return MARK.format(hashlib.sha256(lines.encode()).hexdigest())


def checksum(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def relative_files(folder: Path) -> list[str]:
    """Paths of all files below a folder, from it, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def copy_with_sums(source: Path, destination: Path):
    """A copy of a folder on the disk, its checksums among the files."""
    names = relative_files(source)
    lines = []
    for name in names:
        copy = destination / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, copy)  # whoever may read the folder may read the files
        lines.append(f"{checksum(copy)}  {name}\n")
        with copy.open("rb") as file:
            os.fsync(file.fileno())
    text = "".join(lines)
    (destination / SUMS).write_text(f"{mark(text)}\n{text}", encoding="utf-8")
