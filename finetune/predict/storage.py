"""A folder on this disk or at a URL that fsspec opens, such as s3://: list its files, read and write them whole.

A file appears under its name with all its content or not at all: on a disk it is renamed, and a store shows an object
once it is complete.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import fsspec

from finetune.base.errors import FULL, Stopped, UserError, one_line
from finetune.base.files import file_kind, replacing
from finetune.sources.bounds import S3_OPTIONS

STORES = "`make cluster`, or `pip install -r requirements-publish.txt -c constraints.txt`"


class Stored(NamedTuple):
    """A file of a folder: its bytes, and a mark that changes with its content, an ETag or the time of the last change."""

    size: int
    version: str


class LocalFolder:
    """A folder on this disk, or on one that the machines share."""

    def __init__(self, path: str):
        self.path = Path(os.path.abspath(path))

    def __str__(self) -> str:
        return str(self.path)

    def files(self) -> dict[str, Stored]:
        """Every file by its path from here. Raises UserError for a pipe, a device or a broken link."""
        found = {}
        for path in sorted(self.path.rglob("*")):
            if path.is_dir():
                continue
            if not path.is_file():
                raise UserError(f"{path} is {file_kind(path)}, expected a file; remove it")
            found[path.relative_to(self.path).as_posix()] = stored(path)
        return found

    def look(self, name: str) -> Stored | None:
        """One file; None if it is missing."""
        path = self.path / name
        return stored(path) if path.is_file() else None

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes):
        self.path.mkdir(parents=True, exist_ok=True)
        with replacing(self.path / name) as part:
            part.write_bytes(content)

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Path of a file during the block."""
        yield self.path / name

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Path at which the block writes a file."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        yield self.path / name

    def holds(self, other: "Folder") -> bool:
        """Whether another folder is this one or lies inside it."""
        mine = self.path.resolve()
        return isinstance(other, LocalFolder) and (mine == other.path.resolve() or mine in other.path.resolve().parents)

    def remove(self, name: str):
        (self.path / name).unlink(missing_ok=True)


def stored(path: Path) -> Stored:
    """Size and time of the last change of a file."""
    found = path.stat()
    return Stored(found.st_size, str(found.st_mtime_ns))


class RemoteFolder:
    """A folder at a URL. Files pass through the temporary folder of the machine that works on them, one at a time."""

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        with self.reached():
            options = S3_OPTIONS if self.url.startswith("s3") else {}
            self.system, self.root = fsspec.url_to_fs(self.url, use_listings_cache=False, **options)

    def __str__(self) -> str:
        return self.url

    @contextlib.contextmanager
    def reached(self, name: str = "") -> Iterator[None]:
        """Block whose errors of the store become a UserError; FileNotFoundError is left to the caller."""
        where = f"{self.url}/{name}" if name else self.url
        try:
            yield
        except ImportError as error:
            raise UserError(f"{where} needs another library ({one_line(error)}); run {STORES}") from None
        except (FileNotFoundError, UserError, Stopped):
            raise
        except PermissionError as error:
            raise UserError(f"{where}: access denied ({one_line(error)[:200]}); check the credentials") from None
        except Exception as error:
            # Each store of fsspec raises the errors of its own client. A full disk here is not one of them.
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            raise UserError(
                f"{where} cannot be reached ({type(error).__name__}: {one_line(error)[:200]}); check address, network and credentials"
            ) from None

    def place(self, name: str) -> str:
        return f"{self.root}/{name}"

    def files(self) -> dict[str, Stored]:
        """Every object by its name from here; empty if there is none. Raises UserError if the URL names a file."""
        with self.reached():
            try:
                found = self.system.find(self.root, detail=True)
            except FileNotFoundError:
                return {}
        if self.root in found:
            raise UserError(f"{self.url} is a file, expected a folder; name the folder that holds it")
        names = {path.removeprefix(self.root).lstrip("/"): facts for path, facts in found.items()}
        # Consoles of S3 mark a folder with an empty object whose name ends in a slash.
        return {name: described(facts) for name, facts in sorted(names.items()) if name and not name.endswith("/")}

    def look(self, name: str) -> Stored | None:
        """One object; None if it is missing."""
        with self.reached(name):
            try:
                return described(self.system.info(self.place(name)))
            except FileNotFoundError:
                return None

    def read(self, name: str) -> bytes:
        with self.reached(name):
            return self.system.cat_file(self.place(name))

    def write(self, name: str, content: bytes):
        with self.reached(name):
            try:
                self.system.pipe_file(self.place(name), content)
            except FileNotFoundError as error:
                raise UserError(f"{self.url} cannot be written ({one_line(error)}); create the bucket first") from None

    @contextlib.contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Path of a copy of a file, which is gone after the block."""
        with tempfile.TemporaryDirectory(prefix="finetune-predict-") as scratch:
            copy = Path(scratch) / Path(name).name
            with self.reached(name):
                self.system.get_file(self.place(name), str(copy))
            yield copy

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Path at which the block writes a file, which is sent after the block."""
        with tempfile.TemporaryDirectory(prefix="finetune-predict-") as scratch:
            copy = Path(scratch) / Path(name).name
            yield copy
            with self.reached(name):
                self.system.put_file(str(copy), self.place(name))

    def holds(self, other: "Folder") -> bool:
        """Whether another folder is this one or lies inside it."""
        return isinstance(other, RemoteFolder) and f"{other.url}/".startswith(f"{self.url}/")


def described(facts: dict) -> Stored:
    """Size and mark of an object from what fsspec says about it."""
    marks = (facts.get(key) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime", "created"))
    return Stored(facts["size"], str(next((mark for mark in marks if mark), "")).strip('"'))


Folder = LocalFolder | RemoteFolder


def is_url(name: str) -> bool:
    """Whether fsspec opens it; a file:// is a path."""
    return "://" in name and not name.startswith("file://")


def folder_at(name: str) -> Folder:
    """The folder that a path or a URL names."""
    return RemoteFolder(name) if is_url(name) else LocalFolder(name.removeprefix("file://"))
