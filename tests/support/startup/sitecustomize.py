"""Imported first by every Python that a test's project starts: it makes such a start cheap."""

import contextlib
import gc
import os
import sys

gc.set_threshold(1_000_000)  # the garbage collector would take a sixth of the time of the imports


def warm_command() -> list[str] | None:
    """What a copy is to run: a module with its arguments, or -c and the code of a process that `multiprocessing` spawns.

    None for what starts as usual.
    """
    first, *rest = (argument for argument in sys.orig_argv[1:] if argument != "-B")  # pytest passes it on
    if os.path.basename(first) == "dvc":
        return ["dvc", *rest]
    if first == "-m" and (rest[0] == "dvc" or rest[0].startswith(("stages.", "finetune.", "benchmarks."))):
        return rest
    return ["-c", *rest] if first == "-c" and rest[0].startswith("from multiprocessing.spawn import") else None


def inherited() -> list[int]:
    """File descriptors that this process got from the one that started it, without the standard streams."""
    numbers = []
    for number in map(int, os.listdir("/proc/self/fd")):
        with contextlib.suppress(OSError):  # that of the list itself
            if number > 2 and os.get_inheritable(number):
                numbers.append(number)
    return numbers


def run_warm(address: str, command: list[str]):
    """Lets a copy of the process of tests/support/warm.py run a command, and ends with its exit status."""
    import json
    import signal
    import socket

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    pipes = inherited()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{address}")
        socket.send_fds(connection, [b"-"], [0, 1, 2, *pipes])
        connection.sendall(json.dumps([command, os.getcwd(), dict(os.environ), pipes]).encode() + b"\n")
        status = connection.recv(16)
    os._exit(int(status or 1))


# A rank of a training in several processes starts as usual: the process that started it watches it.
WARM = os.environ.get("WARM_PYTHON") if "RANK" not in os.environ else None
if WARM and len(sys.orig_argv) > 1 and (COMMAND := warm_command()):
    run_warm(WARM, COMMAND)
