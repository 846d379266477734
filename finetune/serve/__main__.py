"""Serve the exported model over HTTP: POST /predict and /explain, a page to try it at /, /health, /metrics, /docs.

    python -m finetune.serve                     (make serve)
    python -m finetune.serve --port 8001         (make serve PORT=8001)

reads   models/export/, written by `dvc repro export`: ONNX model and tokenizer; profile and card if present

Every option can also be set in the environment: SERVE_PORT for --port. If SERVE_TOKEN is set, POST /predict and
POST /explain must send it as `Authorization: Bearer`.
"""

import signal
import socket

from finetune.base.command import run
from finetune.base.errors import UserError, one_line
from finetune.base.terminal import say
from finetune.serve.app import create_app
from finetune.serve.connections import most_connections
from finetune.serve.server import BACKLOG, Server
from finetune.serve.settings import read_settings, read_token


def listening(host: str, port: int) -> socket.socket:
    """Socket the server listens on; raises UserError if it cannot be opened."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host} port {port} ({one_line(error)}); choose another with --host and --port, "
            f"as in `make serve PORT=8001`"
        ) from None
    # Connections inherit this option. Without it a response body waits 40 ms for the acknowledgement of its headers:
    # asyncio sets the option only on sockets created with TCP's protocol number, and create_server leaves that out.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def stop(*_):
    """Exits with status 0, before there is anything to finish."""
    raise SystemExit(0)


def main():
    signal.signal(signal.SIGTERM, stop)
    settings = read_settings(__doc__)
    connections = most_connections(settings.connections)
    app = create_app(settings, read_token())
    server = Server(app, connections, app.state.stop_waiting)
    with listening(settings.host, settings.port) as opened:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        say(f"{settings.folder} at http://{host}:{opened.getsockname()[1]} (docs at /docs)", flush=True)
        server.run(sockets=[opened])
    if server.interrupted:
        raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(run(main))
