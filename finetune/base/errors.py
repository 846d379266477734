"""Mistakes a user can fix: the types, and the wording of errors that come from files."""

import contextlib
import errno
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
# The low byte of SQLite's codes; the high one gives details.
DATABASE_NOT_WRITTEN = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
DISK_FAILS = (errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENODEV)
MADE_BY_STAGES = ("data", "models", "metrics")


# What the clients of a server raise for an answer that is not what they expect.
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, AssertionError, RecursionError)


class UserError(Exception):
    """A mistake the user can fix. The message says what was found, what is expected and what to do."""


class Stopped(Exception):
    """Work that stopped on request and has saved its progress; `status` is the exit status that shells expect."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def one_line(error: Exception) -> str:
    """A library's error message, collapsed to one line."""
    return " ".join(str(error).split()) or type(error).__name__


@contextlib.contextmanager
def foreign(problem: str) -> Iterator[None]:
    """Block in which a library reads files from outside; `problem` is the UserError's line, with `{reason}` for the cause.

    A value of a wrong type or size in such a file surfaces as any exception at all, at a place deep in the library.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {one_line(error)[:300]}"
        raise UserError(problem.replace("{reason}", reason)) from None  # a path in the line may hold braces


def existing(folder: str | Path) -> Path:
    """The folder itself. Raises FileNotFoundError if it is missing: transformers would ask the Hub for a model of that name."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return Path(folder)


def library_problem(error: Exception) -> str | None:
    """One line about an error of the system, or of a database (SQLite), that a user can fix; None for any other."""
    for cause in causes(error):
        if isinstance(cause, sqlite3.OperationalError) and cause.sqlite_errorcode & 0xFF in DATABASE_NOT_WRITTEN:
            error = OSError(errno.ENOSPC, one_line(cause), "a database in .dvc")
    return file_problem(error) if isinstance(error, OSError) else None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those that it was raised from: libraries wrap those of SQLite."""
    while error is not None:
        yield error
        error = error.__cause__


def first_of(error: shutil.Error) -> OSError:
    """The first failure in a copied folder; `shutil.copytree` keeps the text of each, and its number only in the text."""
    _, target, reason = error.args[0][0]
    number = re.match(r"\[Errno (\d+)\]", str(reason))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(target)) if number else OSError(str(reason))


def file_problem(error: OSError) -> str | None:
    """One line about a file that cannot be written or that no stage has made yet; None for any other OSError."""
    if isinstance(error, shutil.Error):
        error = first_of(error)
    where = error.filename or "an output"
    again = "run `dvc repro` again" if "DVC_STAGE" in os.environ else "run this again"
    if error.errno in FULL:
        return f"no room to write {where} ({one_line(error)}); free some space and {again}" + (
            ", or bring the previous results back with `dvc checkout --force` and `git restore metrics`"
            if "DVC_STAGE" in os.environ
            else ""
        )
    if error.errno in IN_THE_WAY:
        return f"cannot write {where} ({one_line(error)}); move away the file or folder there and {again}"
    if error.errno == errno.ENAMETOOLONG:
        return f"{where} is a longer name than a file may have; shorten it"
    if error.errno == errno.ELOOP:
        return f"{where} is a link that leads back to itself; remove it"
    if error.errno in DISK_FAILS:
        return (
            f"the system cannot read or write {error.filename or 'a file'} ({one_line(error)}); check the disk it is on"
        )
    if isinstance(error, FileNotFoundError):
        wanted = str(error.filename or error)  # pyarrow's message is the path alone
        if wanted.split("/")[0] in MADE_BY_STAGES:
            return f"{wanted} is missing; run `dvc repro`, which makes it or takes it from the cache"
    if error.errno in FORBIDDEN:
        return f"cannot write {where} ({one_line(error)}); make it writable and {again}"
    return None
