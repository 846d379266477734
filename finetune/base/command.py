"""How a command starts, ends and reports a mistake."""

import argparse
import os
import sys
import time

from finetune.base.errors import Stopped, UserError, file_problem

RANK_0_REPORTS = 10  # seconds


def run(main, mistake: int = 1, usage: str | None = None) -> int:
    """Exit status of `main()`: its result (None is 0), or `mistake` after one line on stderr about what to fix.

    `usage` is the docstring of a command without options: `--help` prints it, and any other argument ends with status 2.
    Bugs of our own keep their traceback. Ctrl-C ends with status 130, as shells expect.
    """
    if usage:
        refuse_arguments(usage)
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
        # Rank 0 reports and ends the others; the rest report only if it has not done so in time.
        time.sleep(RANK_0_REPORTS)
    print(f"error: {problem}", file=sys.stderr)
    return mistake


def refuse_arguments(usage: str):
    """Prints `usage` and exits on `--help`; exits with status 2 on any other argument."""
    module = sys.modules["__main__"].__spec__.name.removesuffix(".__main__")
    argparse.ArgumentParser(
        prog=f"python -m {module}", description=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
