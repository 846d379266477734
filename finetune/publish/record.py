"""The record of a publication: a list of its files with their SHA-256, by which an unmodified one is recognised."""

import hashlib
from pathlib import Path

SUMS = "SHA256SUMS"  # in the format of `sha256sum --check`
# First line of our list, a comment for `sha256sum`. It holds the checksum of the lines below it, so no other list passes for ours.
MARK = "# This list was written by finetune.publish: {}"
REPLACEABLE = "does not exist, is empty, or holds an unmodified earlier publication"


def record_of(sums: dict[str, str]) -> bytes:
    """Content of SHA256SUMS for files with these checksums, by relative path."""
    lines = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))
    return f"{mark(lines)}\n{lines}".encode()


def recorded(content: bytes) -> dict[str, str]:
    """Checksums in a SHA256SUMS by relative path; empty unless it is, byte for byte, one that `record_of` wrote."""
    first, _, rest = content.partition(b"\n")
    try:
        lines = rest.decode("utf-8")
    except UnicodeDecodeError:
        return {}
    if first != mark(lines).encode():
        return {}
    return {name: sum_ for sum_, _, name in (line.partition("  ") for line in lines.split("\n")[:-1])}


def mark(lines: str) -> str:
    """First line of a list of checksums, computed from the lines below it."""
    return MARK.format(hashlib.sha256(lines.encode()).hexdigest())


def modification(sums: dict[str, str], present: dict[str, str | None]) -> str | None:
    """How a place differs from the publication that its record lists, in words; None if it does not, or holds nothing.

    `sums` is the record, empty without a valid one. `present` holds every name at the place; its value is the SHA-256 of a
    file on the record and None for anything else. Both exclude the folders that a listed file needs.
    """
    foreign = sorted(present.keys() - sums.keys() - {SUMS})
    if SUMS in present and not sums:
        return f"holds a {SUMS} that this version did not write or that was edited since"
    if foreign:
        return f"holds {foreign[0]}, which was not published there"
    changed = sorted(name for name, sum_ in sums.items() if present.get(name) != sum_)
    if changed:
        return f"was published, but {changed[0]} has changed since"
    return None


def checksum(file: Path) -> str:
    """SHA-256 of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def relative_files(folder: Path) -> list[str]:
    """Relative paths of all files below a folder, sorted."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
