"""The exported model over HTTP: POST /predict, a page to try it at /, /health, /metrics, /docs.

    python -m finetune.serve                     (make serve)
    python -m finetune.serve --port 8001         (make serve PORT=8001)

reads   models/export/ as `dvc repro export` wrote it: ONNX, tokenizer, and where they are there profile and card

Every option can also come from the environment: SERVE_PORT for --port. SERVE_TOKEN, where set, is what
POST /predict and POST /explain must bring as `Authorization: Bearer`.
"""

import signal
import socket

import uvicorn

from finetune.base.command import run
from finetune.base.errors import UserError, one_line
from finetune.serve.app import create_app
from finetune.serve.settings import read_settings, read_token

FINISH = 9  # seconds for what was accepted before a stop, body and answer; Docker kills after ten
BACKLOG = 2048  # connections that wait to be accepted: a burst of clients is not refused


def listening(host: str, port: int) -> socket.socket:
    """Socket at which the server will answer; raises UserError when it cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        opened = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise UserError(
            f"cannot listen at {host} port {port} ({one_line(error)}); choose another with --host and --port, "
            f"as in `make serve PORT=8001`"
        ) from None
    # Connections inherit it. Else an answer's body waits 40 ms for its headers' acknowledgement: asyncio sets it only on
    # sockets that were made with TCP's number, and Python's own function leaves that out.
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def stop(*_):
    """Ends the process well: uvicorn sends itself the signal again once all that was accepted is answered."""
    raise SystemExit(0)


def main():
    signal.signal(signal.SIGTERM, stop)
    settings = read_settings(__doc__)
    app = create_app(settings, read_token())
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=FINISH
    )
    with listening(settings.host, settings.port) as opened:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"{settings.folder} at http://{host}:{opened.getsockname()[1]} (docs at /docs)", flush=True)
        uvicorn.Server(config).run(sockets=[opened])


if __name__ == "__main__":
    raise SystemExit(run(main))
