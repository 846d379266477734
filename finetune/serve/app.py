"""The exported model over HTTP: POST /predict, a page to try it at /, /health, /metrics, /docs.

    python -m finetune.serve                     (make serve)
    python -m finetune.serve --port 8001         (make serve PORT=8001)

reads   models/export/ as `dvc repro export` wrote it: ONNX, tokenizer, and where they are there profile and card

Every option can also come from the environment: SERVE_PORT for --port. SERVE_TOKEN, where set, is what
POST /predict and POST /explain must bring as `Authorization: Bearer`.
"""

import argparse
import asyncio
import contextlib
import math
import os
import signal
import socket
from pathlib import Path
from typing import NamedTuple

import numpy as np
import prometheus_client
import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from finetune.base.errors import UserError, one_line
from finetune.base.files import read_json
from finetune.runtime.classifier import Classifier
from finetune.runtime.drift import PROFILE, WINDOW, Window
from finetune.runtime.reading import Reader, Reading
from finetune.serve import explain as occlusion
from finetune.serve import schemas
from finetune.serve.guard import Guard
from finetune.serve.monitoring import Measured, Monitor
from finetune.serve.pages import ASSETS, asset, card_page, card_text, try_page
from finetune.serve.queue import Batcher, Full

TOKEN = "SERVE_TOKEN"
FINISH = 9  # seconds for what was accepted before a stop, body and answer; Docker kills after ten
BACKLOG = 2048  # connections that wait to be accepted: a burst of clients is not refused
RETRY_AFTER = "1"  # seconds; a full queue is worked off in about that
PROBLEMS = {
    400: "The body is not JSON",
    408: "The body came too slowly",
    413: "The body is too large",
    422: "The JSON is not what is expected",
    503: "Too many texts wait; Retry-After says when to come again",
}


class Settings(NamedTuple):
    """What a server is started with; `OPTIONS` tells each."""

    folder: Path = Path("models/export")
    host: str = "127.0.0.1"
    port: int = 8000
    max_body: int = 1_048_576
    max_texts: int = 128
    max_characters: int = 10_000
    queue: int = 1024
    window: int = WINDOW
    threads: int = os.cpu_count() or 1


OPTIONS = {
    "folder": "exported model to serve",
    "host": "address to listen at; 0.0.0.0 is every one this machine has",
    "port": "port to listen at; 0 takes a free one",
    "max_body": "bytes of a request's body, at most",
    "max_texts": "texts in a request, at most",
    "max_characters": "characters of a text, at most",
    "queue": "texts that may wait; requests beyond get 503",
    "window": "last texts that are compared with the reference profile",
    "threads": "batches that are classified at the same time",
}


def reference_window(folder: Path, labels: list[str], size: int) -> Window | None:
    """Window for the folder's reference profile; None where an earlier export stored none."""
    path = folder / PROFILE
    if not path.is_file():
        return None
    try:
        profile = read_json(path)
        if profile["labels"] == labels:
            return Window(profile, size)
        found = f"is of the labels {', '.join(profile['labels'])}, the model's are {', '.join(labels)}"
    except (ValueError, KeyError, TypeError) as error:
        found = f"is no reference profile ({type(error).__name__}: {one_line(error)})"
    raise UserError(f"{path} {found}; export the model again with `dvc repro export`")


def create_app(settings: Settings, token: str | None = None) -> FastAPI:
    """The application. Raises UserError when the folder holds no model that can be served."""
    classifier = Classifier(settings.folder, threads=1)  # batches side by side: threads inside one wait for each other
    labels = classifier.labels
    reader = Reader(classifier)
    window = reference_window(settings.folder, labels, settings.window)
    monitor = Monitor(labels, window)
    card = card_text(settings.folder)

    def classify(rows: list[str | list[int]]) -> list[tuple[Reading | None, np.ndarray]]:
        """Of each row, a text or token ids, its probabilities, and of a text its reading."""
        readings = iter(reader.read([row for row in rows if isinstance(row, str)]))
        found = [next(readings) if isinstance(row, str) else None for row in rows]
        ids = [row if reading is None else reading.ids for row, reading in zip(rows, found, strict=True)]
        return list(zip(found, classifier.answer(ids), strict=True))

    batcher = Batcher(classify, settings.threads, settings.queue, monitor.batch.observe)
    monitor.waiting.set_function(lambda: len(batcher.waiting))

    async def answers(rows: list[str] | list[list[int]]) -> tuple[list[Reading | None], np.ndarray]:
        """Readings, and probabilities of shape [rows, classes]."""
        readings, probabilities = zip(*await batcher.answers(rows), strict=True)
        return list(readings), np.stack(probabilities)

    @contextlib.asynccontextmanager
    async def life(_):
        yield
        batcher.close()

    app = FastAPIOffline(
        title="Text classifier",
        description=f"Classifies a text as one of: {', '.join(labels)}.",
        version="1",
        redoc_url=None,
        static_url="/docs/assets",
        favicon_url="page/icon.svg",
        lifespan=life,
    )
    bodies = schemas.requests(settings.max_texts, settings.max_characters)
    told = {status: {"model": schemas.Problem, "description": text} for status, text in PROBLEMS.items()}
    guarded = []
    if token is not None:
        guarded = [Depends(HTTPBearer(auto_error=False))]  # for the document; finetune.guard does it before the body
        told[401] = {"model": schemas.Problem, "description": "The token is missing or wrong"}

    @app.post("/predict", responses=told, dependencies=guarded)
    async def predict(body: bodies.one_or_many) -> schemas.Predictions:
        """Classes of one text or of many, with calibrated probabilities."""
        readings, probabilities = await answers(getattr(body, "texts", None) or [body.text])
        for label in probabilities.argmax(1):
            monitor.texts[label].inc()
        if window:
            window.add(readings, probabilities)
        found = schemas.predictions(labels, readings, probabilities)
        return schemas.Predictions.model_construct(predictions=found)

    @app.post("/explain", responses=told, dependencies=guarded)
    async def explain(body: bodies.one) -> schemas.Explanation:
        """Class of one text and how far each of its words pushes it; costs as much as a text for each word."""
        batcher.check_room(occlusion.most_rows(body.text))  # before the work of making them
        (reading,) = await asyncio.to_thread(reader.read, [body.text])
        parts = await asyncio.to_thread(occlusion.parts, classifier, body.text)
        _, probabilities = await answers(parts.rows)
        push = dict(zip(parts.places, occlusion.pushes(probabilities), strict=True))
        (found,) = schemas.predictions(labels, [reading], probabilities[:1])
        pieces = [
            schemas.Part(text=text, push=push.get(place))
            for place, text in enumerate(parts.texts)
            if text or place in push
        ]
        return schemas.Explanation(**dict(found), parts=pieces)

    @app.get("/health")
    async def health() -> schemas.Health:
        """That the server answers, and whether the texts it gets are like those it was validated on."""
        return schemas.Health(
            status="ok", model=classifier.model.as_posix(), labels=labels, drift=drift_now(window) if window else None
        )

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics():
        """Counts, times and drift in Prometheus' text format."""
        text = prometheus_client.generate_latest(monitor.registry)
        return Response(text, media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    async def page():
        return try_page(card, labels, settings.max_characters, classifier.max_length, token is not None)

    @app.get("/card", include_in_schema=False, response_class=HTMLResponse)
    async def model_card():
        if card is None:
            raise HTTPException(404, "the exported folder holds no model card (README.md)")
        return card_page(card)

    for name, kind in ASSETS.items():
        found = Response(asset(name), media_type=kind)
        app.add_api_route(f"/page/{name}", lambda found=found: found, include_in_schema=False, response_model=None)

    @app.exception_handler(RequestValidationError)
    async def not_expected(_: Request, error: RequestValidationError):
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            place = f"{first['ctx']['error']} at character {first['loc'][-1]}"
            return JSONResponse({"detail": f"the body is not JSON: {place}"}, 400)
        return JSONResponse({"detail": schemas.problem_line(first)}, 422)

    @app.exception_handler(Full)
    async def come_again(_: Request, error: Full):
        detail = f"{settings.queue} texts wait at most, and there is no room for {error.rows} more now; come again"
        return JSONResponse({"detail": detail}, 503, {"Retry-After": RETRY_AFTER})

    @app.exception_handler(HTTPException)
    async def problem(_: Request, error: HTTPException):
        detail = error.detail
        if error.status_code == 400:  # FastAPI's own, for whatever json raises besides a syntax error
            detail = "the body is not JSON that can be read: nested too deeply, a number too long, or not UTF-8"
        return JSONResponse({"detail": detail}, error.status_code, error.headers)

    # The last added is the outermost.
    app.add_middleware(Guard, token=token, max_body=settings.max_body)
    app.add_middleware(Measured, monitor=monitor, paths={"/predict", "/explain", "/health", "/metrics", "/", "/card"})
    return app


def drift_now(window: Window) -> schemas.Drift:
    """The window beside its reference, as /health tells it."""
    features = {}
    for name in window.features:
        distance, limit = window.distance(name), window.limit(name)
        features[name] = schemas.DriftOfFeature(
            distance=round(distance, 4),
            limit=round(limit, 4),
            drifted=len(window.places) >= window.fewest and distance > limit,
        )
    return schemas.Drift(
        verdict=window.verdict(), texts=len(window.places), window=window.places.maxlen, features=features
    )


def read_settings() -> Settings:
    """Settings from the command line, then the environment, then the defaults."""
    parser = argparse.ArgumentParser(prog="python -m finetune.serve", description=__doc__.partition("\n")[0])
    for name, told in OPTIONS.items():
        default = Settings._field_defaults[name]
        variable = f"SERVE_{name.upper()}"
        kind = type(default) if not isinstance(default, int) else whole(0, 65535) if name == "port" else whole(1)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            default=os.environ.get(variable, default),
            metavar=name.rpartition("_")[2].upper(),
            help=f"{told} (default {default}, or {variable})",
        )
    found = Settings(**vars(parser.parse_args()))
    if found.queue < max(found.max_texts, occlusion.MOST + 1):
        raise UserError(
            f"--queue {found.queue} has no room for one request; it must be at least "
            f"{max(found.max_texts, occlusion.MOST + 1)} (--max-texts {found.max_texts}, or {occlusion.MOST} words to explain)"
        )
    return found


def read_token() -> str | None:
    """What requests must bring; None where nothing is asked for. Raises UserError for what no request could bring."""
    token = os.environ.get(TOKEN)
    if token is None:
        return None
    if not token.strip():
        raise UserError(f"{TOKEN} is empty, which would let nobody or everybody in; give it a value or unset it")
    if token != token.strip():
        raise UserError(f"{TOKEN} begins or ends with white space, which no header keeps; take it away")
    if not (token.isascii() and token.isprintable()):
        raise UserError(f"{TOKEN} holds what is not printable ASCII, which no header carries unchanged; choose another")
    return token


def whole(least: int, most: float = math.inf):
    """Type of an option: a whole number in these limits."""

    def number(text: str) -> int:
        if not least <= (value := int(text)) <= most:
            allowed = f"at least {least}" if most == math.inf else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"must be {allowed}, found {value}")
        return value

    number.__name__ = "whole number"  # for argparse's own message
    return number


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
    settings = read_settings()
    app = create_app(settings, read_token())
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=FINISH
    )
    with listening(settings.host, settings.port) as opened:
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        print(f"{settings.folder} at http://{host}:{opened.getsockname()[1]} (docs at /docs)", flush=True)
        uvicorn.Server(config).run(sockets=[opened])
