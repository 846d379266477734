"""Mistakes a user can mend, told in one line and without a traceback."""

import errno
import os
import sys
import time
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FIRST_SPEAKS = 10  # seconds
IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
MADE_BY_STAGES = ("data", "models", "metrics")


class UserError(Exception):
    """A mistake the user can mend: the message says what was found, what is expected, what to do."""


class Stopped(Exception):
    """Work that was asked to stop and has saved what it had; `status` is the exit status that shells expect."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def one_line(error: Exception) -> str:
    """Message of an error from a library, on one line, for the end of a message of our own."""
    return " ".join(str(error).split()) or type(error).__name__


def existing(folder: str | Path) -> Path:
    """The folder; raises FileNotFoundError where there is none: transformers would ask the Hub for a model of that name."""
    if not Path(folder).is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return Path(folder)


def run(main, mistake: int = 1) -> int:
    """Exit status of `main()`: what it returns (None is 0), or `mistake` after one line on stderr about what to mend.

    Errors that are ours (a bug) keep their traceback. 130 follows Ctrl-C, as shells expect.
    """
    try:
        return main() or 0
    except UserError as error:
        problem = str(error)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        return stop.status
    except MemoryError:
        problem = "out of memory; lower train.batch_size or tokenize.max_length, or close other programs"
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except OSError as error:
        problem = file_problem(error)
        if problem is None:
            raise
    if os.environ.get("RANK", "0") != "0":
        # Of several processes the first one speaks, and ends the others. What it cannot know is told after all.
        time.sleep(FIRST_SPEAKS)
    print(f"error: {problem}", file=sys.stderr)
    return mistake


def file_problem(error: OSError) -> str | None:
    """One line about a file that has no room, cannot be written or is not made yet, or whose place is taken; None for every other OSError."""
    where = error.filename or "an output"
    if error.errno in FULL:
        return (
            f"no room to write {where} ({one_line(error)}); free some space and run `dvc repro` again, "
            "or bring the previous results back with `dvc checkout --force` and `git restore metrics`"
        )
    if error.errno in IN_THE_WAY:
        return f"cannot write {where} ({one_line(error)}); move away what stands there and run `dvc repro` again"
    if isinstance(error, FileNotFoundError):
        wanted = str(error.filename or error)  # pyarrow gives the path alone
        if wanted.split("/")[0] in MADE_BY_STAGES:
            return f"{wanted} is not there; run `dvc repro`, which makes it or takes it from the cache"
    if error.errno in FORBIDDEN:
        return f"cannot write {where} ({one_line(error)}); make it writable and run `dvc repro` again"
    return None
