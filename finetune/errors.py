"""Mistakes a user can mend, told in one line and without a traceback."""

import errno
import sys

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class UserError(Exception):
    """A mistake the user can mend: the message says what was found, what is expected, what to do."""


def one_line(error: Exception) -> str:
    """Message of an error from a library, on one line, for the end of a message of our own."""
    return " ".join(str(error).split()) or type(error).__name__


def run(main) -> int:
    """Exit status of `main()`: what it returns (None is 0), or 1 after one line on stderr about what the user can mend.

    Errors that are ours (a bug) keep their traceback. 130 follows Ctrl-C, as shells expect.
    """
    try:
        return main() or 0
    except UserError as error:
        problem = str(error)
    except MemoryError:
        problem = "out of memory; lower train.batch_size or tokenize.max_length, or close other programs"
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except OSError as error:
        problem = disk_problem(error)
        if problem is None:
            raise
    print(f"error: {problem}", file=sys.stderr)
    return 1


def disk_problem(error: OSError) -> str | None:
    """One line about a full disk or a place that cannot be written; None for every other OSError."""
    where = error.filename or "an output"
    if error.errno in FULL:
        return (
            f"no room to write {where} ({one_line(error)}); free some space and run `dvc repro` again, "
            "or bring the previous results back with `dvc checkout` and `git restore metrics`"
        )
    if error.errno in FORBIDDEN:
        return f"cannot write {where} ({one_line(error)}); make it writable and run `dvc repro` again"
    return None
