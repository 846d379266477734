"""A process that has imported the libraries, and runs each stage or command of a test's project in a copy of itself.

A stage of the tiny project works for half a second after three to five seconds of imports. Python in a project's folder
first imports startup/sitecustomize.py, which sends its command here; the copy made by fork then runs it in that folder, with
its streams and its environment. The code of the project itself is imported anew each time.
"""

import atexit
import fcntl
import gc
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).parent.parent.parent
STARTUP = ROOT / "tests/support/startup"

# Not stages.export: onnxruntime starts a thread when it is imported, which a copy would lack. What else it imports is here.
MODULES = (
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.commands.experiments.run",
    "onnx",
    "onnxscript",
    "torch.onnx",
    "transformers.pipelines",
    "stages.tokenize",
    "stages.baseline_eval",
    "stages.train",
    "stages.evaluate",
    "finetune.cross_validation.__main__",
    "finetune.report.__main__",
    "finetune.share",
)


@cache
def warm_python() -> str:
    """Address of this test process's own server, which ends with it."""
    address = f"warm-python-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{address}")
        listener.listen()
        command = [sys.executable, __file__, str(listener.fileno())]
        # A library reads it when it is imported, and a command is sent with its environment only after that.
        environment = os.environ | {"HF_HOME": tempfile.mkdtemp()}
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], env=environment)
    atexit.register(shutil.rmtree, environment["HF_HOME"])
    atexit.register(server.communicate)  # before the folder is removed
    return address


@contextmanager
def warm_spawns() -> Iterator[None]:
    """Block in which processes that the code under test starts, also by `multiprocessing`, start warm."""
    path = os.pathsep.join([os.environ["PYTHONPATH"], str(STARTUP)])
    with patch.dict(os.environ, {"PYTHONPATH": path, "WARM_PYTHON": warm_python()}):
        yield


def import_libraries():
    """Imports what these modules import, and forgets the modules of this project."""
    sys.path.insert(0, str(ROOT))
    for name in MODULES:
        import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("stages", "finetune")]:
        del sys.modules[name]
    sys.path.remove(str(ROOT))
    gc.collect()
    gc.freeze()  # so that the copies share the memory


def received(connection: socket.socket) -> tuple[list[int], list]:
    """File descriptors of the streams and pipes; and arguments, folder, environment, and numbers of the pipes of one command."""
    _, streams, _, _ = socket.recv_fds(connection, 1, 100)
    with connection.makefile("rb") as lines:
        return streams, json.loads(lines.readline())


def serve(listener: socket.socket) -> tuple[list[int], list]:
    """Forks for each connection; returns what was received, in the copy only. Ends the process when stdin is closed.

    A copy is killed when the process that asked for it has ended.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is sys.stdin:
                    os._exit(0)
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    command = received(connection)
                    pid = os.fork()
                    if not pid:
                        return command
                    for stream in command[0]:
                        os.close(stream)
                    end = os.pidfd_open(pid)
                    selector.register(end, selectors.EVENT_READ, (pid, end, connection))
                    selector.register(connection, selectors.EVENT_READ, (pid, end, connection))
                elif selector.get_map().get(key.fd) == key:  # its partner may have come first
                    pid, end, connection = key.data
                    selector.unregister(end)
                    selector.unregister(connection)
                    finish(pid, end, connection, ended=key.fd == end)


def finish(pid: int, end: int, connection: socket.socket, ended: bool):
    """Tells how the copy ended, or kills it if nobody waits for it any more."""
    if not ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with connection, suppress(BrokenPipeError):
        connection.sendall(str(status if status >= 0 else 128 - status).encode())
    os.close(end)


def become(streams: list[int], command: list):
    """Runs the command as `python -m` or `python -c` would."""
    (module, *arguments), folder, environment, pipes = command
    # First to numbers above all of these: one that is needed later may have the number of a target.
    above = [fcntl.fcntl(stream, fcntl.F_DUPFD, 1000) for stream in streams]
    for stream in streams:
        os.close(stream)
    for target, stream in zip((0, 1, 2, *pipes), above, strict=True):
        os.dup2(stream, target)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[0:1] = [folder, *environment["PYTHONPATH"].split(os.pathsep)]
    sys.argv = [module, *arguments]
    if module == "-c":
        sys.argv = ["-c", *arguments[1:]]
        exec(arguments[0], {"__name__": "__main__"})
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as listening:
        import_libraries()
        asked = serve(listening)
    become(*asked)
