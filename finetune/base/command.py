"""How a command starts, ends and reports a mistake."""

import argparse
import io
import os
import signal
import sys
import threading
import time

from finetune.base.errors import Stopped, UserError, library_problem
from finetune.base.terminal import say, say_traceback

RANK_0_REPORTS = 10  # seconds
BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it


class Parser(argparse.ArgumentParser):
    """Command line of a command. A mistake in it ends like every other: in one line, here with exit status 2."""

    def parse_known_args(self, args=None, namespace=None):
        """As argparse, which takes `--name=--` as a list without values where one value is expected."""
        for argument in sys.argv[1:] if args is None else args:
            if argument.startswith("-") and argument.endswith(("=--", "-S--")):
                self.error(f"{argument} has no value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str):
        """Prints the mistake and exits; argparse itself would print the whole usage above it."""
        say(f"error: {message}; `{self.prog} --help` lists what is allowed", sys.stderr)
        raise SystemExit(2)


def run(main, mistake: int = 1, usage: str | None = None) -> int:
    """Exit status of `main()`: its result (None is 0), or `mistake` after one line on stderr about what to fix.

    `usage` is the docstring of a command without options: `--help` prints it, and any other argument ends with status 2.
    A bug keeps its traceback. If `mistake` is not 1, as for the gate, whose status 1 is a verdict, a bug ends with `mistake`
    too. Ctrl-C ends with status 130, as shells expect.
    """
    interrupt_by_exception()
    replace_closed_streams()
    escape_unprintable()
    if usage:
        refuse_arguments(usage)
    try:
        return main() or 0
    except UserError as error:
        problem = str(error)
    except Stopped as stop:
        say(stop, sys.stderr)
        return stop.status
    except MemoryError:
        problem = "out of memory; lower train.batch_size or tokenize.max_length, or close other programs"
    except KeyboardInterrupt:
        say("stopped", sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of the output, such as `head`, has closed it. Python's last flush must not fail because of that.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE
    except Exception as error:
        problem = library_problem(error)
        if problem is None:
            say_traceback(sys.stderr)
            return mistake
    if os.environ.get("RANK", "0") != "0":
        # Rank 0 reports and ends the others; the rest report only if it has not done so in time.
        time.sleep(RANK_0_REPORTS)
    say(f"error: {problem}", sys.stderr)
    return mistake


def interrupt_by_exception():
    """Makes Ctrl-C raise KeyboardInterrupt again, which `finetune/__init__.py` had switched off during the imports."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


def replace_closed_streams():
    """Opens the null device for each standard stream that the caller closed, as `2>&-` does.

    Otherwise the next file that is opened gets the stream's number, and warnings that libraries print end up in it. Python's
    own `sys.stdin` and `sys.stdout` stay None, so a command can still tell; messages to a closed stderr go nowhere.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (open until the end)


def escape_unprintable():
    """Makes stdout and stderr write `\\u2026` for a character that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def refuse_arguments(usage: str):
    """Prints `usage` and exits on `--help`; exits with status 2 on any other argument."""
    spec = sys.modules["__main__"].__spec__  # None when a debugger runs the file
    module = spec.name.removesuffix(".__main__") if spec else sys.argv[0]
    Parser(
        prog=f"python -m {module}", description=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
