"""Imported first by every Python that a test's project starts: it makes such a start cheap."""

import gc
import os
import re
import sys

gc.set_threshold(1_000_000)  # the garbage collector would take a sixth of the time of the imports


SPAWNED = re.compile(r"from multiprocessing.spawn import spawn_main; spawn_main\(tracker_fd=(\d+), pipe_handle=(\d+)\)")


def warm_command() -> tuple[list[str], list[int]] | None:
    """What a copy is to run: a module with its arguments, or the code of a process that `multiprocessing` spawns, whose pipes have
    these numbers. None for what starts as usual."""
    _, first, *rest = sys.orig_argv
    if os.path.basename(first) == "dvc":
        return ["dvc", *rest], []
    if first == "-m" and (rest[0] == "dvc" or rest[0].startswith(("stages.", "finetune."))):
        return rest, []
    if first == "-c" and (spawned := SPAWNED.fullmatch(rest[0])):
        return ["-c", *rest], [int(number) for number in spawned.groups()]
    return None


def run_warm(address: str, command: list[str], pipes: list[int]):
    """Lets a copy of the process of tests/support/warm.py run a command, and ends with its exit status."""
    import json
    import signal
    import socket

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{address}")
        socket.send_fds(connection, [b"-"], [0, 1, 2, *pipes])
        connection.sendall(json.dumps([command, os.getcwd(), dict(os.environ), pipes]).encode() + b"\n")
        status = connection.recv(16)
    os._exit(int(status or 1))


# A rank of a training in several processes starts as usual: the process that started it watches it.
WARM = os.environ.get("WARM_PYTHON") if "RANK" not in os.environ else None
if WARM and len(sys.orig_argv) > 1 and (COMMAND := warm_command()):
    run_warm(WARM, *COMMAND)
