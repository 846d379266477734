"""The real server in a separate process, and requests to it."""

import http.client
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.conftest import ROOT

SECONDS = 60  # for a start on a busy machine


class Server:
    """A running server, which listens on `host` and `port`."""

    def __init__(self, process: subprocess.Popen, address: str):
        self.process, self.address = process, address
        self.host, self.port = urlsplit(address).hostname, urlsplit(address).port

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, dict, bytes]:
        """Status, headers and body of the response to one request, on a new connection."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=SECONDS)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read()
        finally:
            connection.close()

    def post(self, path: str, value, **headers: str):
        """Status and JSON of the response to a posted JSON value."""
        body = json.dumps(value).encode()
        status, _, answer = self.send("POST", path, body, **{"Content-Type": "application/json"} | headers)
        return status, json.loads(answer)

    def get(self, path: str):
        """JSON at a path."""
        return json.loads(self.send("GET", path)[2])

    def metric(self, line: str) -> float:
        """Value in the line of /metrics that begins with this text."""
        text = self.send("GET", "/metrics")[2].decode()
        return float(next(shown for shown in text.splitlines() if shown.startswith(f"{line} ")).split()[-1])

    def stop(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit status after a signal, and stderr."""
        self.process.send_signal(how)
        _, error = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, error


def command(*arguments: str, **environment: str) -> dict:
    """Arguments of Popen for a server, without this machine's SERVE_ variables."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("SERVE_")}
    return {
        "args": [sys.executable, "-W", "error", "-m", "finetune.serve", *arguments],
        "env": outside | environment,
        "cwd": ROOT,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }


@contextmanager
def running(folder: Path, *arguments: str, **environment: str):
    """A server on the folder at a free port, stopped at the end."""
    process = subprocess.Popen(**command("--folder", str(folder), "--port", "0", *arguments, **environment))
    try:
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=SECONDS)[1])
        yield Server(process, line.split(" at ")[1].split()[0])
    finally:
        process.kill()
        process.communicate()
