"""The temporary folder next to a destination, in which a publication is prepared, and those that killed runs left."""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

NEW, BEFORE, PART = "new", "before", "part"  # in the folder: the new copy, the earlier one, and the file being copied


def start_of_name(destination: Path) -> str:
    """How the name of a temporary folder for this destination begins; the rest is random."""
    return f".{destination.name[:200]}.publishing-"


@contextmanager
def workspace(destination: Path) -> Iterator[Path]:
    """A fresh folder next to the destination, because a rename is atomic only within a file system.

    It is locked for the block. If that fails, the earlier copy goes back, and the folder is removed.
    """
    work = Path(tempfile.mkdtemp(prefix=start_of_name(destination), dir=destination.parent))
    with locked(work):
        try:
            yield work
        except BaseException:
            put_back(work, destination)
            if not os.path.lexists(work / BEFORE):  # otherwise something new lies in its place, and both stay
                shutil.rmtree(work, ignore_errors=True)
            raise
        shutil.rmtree(work, ignore_errors=True)


def put_back(work: Path, destination: Path) -> bool:
    """Moves the earlier copy to its place, if that is free; returns whether it did."""
    free = os.path.lexists(work / BEFORE) and not os.path.lexists(destination)
    if free:
        (work / BEFORE).rename(destination)
    return free


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Whether this process holds the folder's lock during the block; the system releases it when the process ends."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = True
        except OSError:  # another process holds it, or this file system has no locks
            held = False
        yield held
    finally:
        os.close(number)


def leftovers(destination: Path, difference: Callable[..., str | None]) -> list[Path]:
    """Removes what killed publications to this destination left; returns the folders that hold anything else, unchanged.

    An earlier copy goes back to its place first, if the kill came between the two renames. A folder of a publication that
    is running is neither removed nor returned. `difference` is `finetune.publish.folder.difference`.
    """
    kept = []
    for work in sorted(destination.parent.glob(f"{glob.escape(start_of_name(destination))}*")):
        if work.is_symlink() or not work.is_dir():
            continue  # never made by us
        # A publication that ends at this moment removes its folder.
        with contextlib.suppress(FileNotFoundError), locked(work) as held:
            if not held:
                continue
            restored = not difference(work / BEFORE) and put_back(work, destination)
            # An empty folder may be one that another publication is about to lock.
            if (restored or any(work.iterdir())) and is_ours(work, difference):
                shutil.rmtree(work, ignore_errors=True)
            else:
                kept.append(work)
    return kept


def is_ours(work: Path, difference: Callable[..., str | None]) -> bool:
    """Whether a folder holds only what a publication puts there: unmodified copies, perhaps with files missing.

    The new one lacks those that were not copied yet, the earlier one those that were deleted already.
    """
    if {path.name for path in work.iterdir()} - {NEW, BEFORE, PART}:
        return False
    part = work / PART
    if os.path.lexists(part) and (part.is_symlink() or not part.is_file()):
        return False
    copies = [work / name for name in (NEW, BEFORE) if os.path.lexists(work / name)]
    if any(copy.is_symlink() or not copy.is_dir() for copy in copies):
        return False
    return not any(difference(copy, complete=False) for copy in copies)
