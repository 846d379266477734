"""Imported first by every Python that a test's project starts: it makes such a start cheap."""

import gc
import os
import sys

gc.set_threshold(1_000_000)  # the garbage collector would take a sixth of the time of the imports


def run_warm(address: str):
    """Lets a copy of the process of tests/support/warm.py run this command, and ends with its exit status."""
    import json
    import signal
    import socket

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"\0{address}")
        socket.send_fds(connection, [b"-"], [0, 1, 2])
        connection.sendall(json.dumps([sys.orig_argv[2:], os.getcwd(), dict(os.environ)]).encode() + b"\n")
        status = connection.recv(16)
    os._exit(int(status or 1))


# A rank of a training in several processes starts as usual: the process that started it watches it.
WARM = os.environ.get("WARM_PYTHON") if "RANK" not in os.environ else None
if WARM and sys.orig_argv[1] == "-m" and sys.orig_argv[2].startswith(("stages.", "finetune.")):
    run_warm(WARM)
