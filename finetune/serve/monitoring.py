"""Metrics for Prometheus: requests, batches, labels, drift."""

import asyncio
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from finetune.runtime.drift import Window
from finetune.serve.queue import BATCH_ROWS

SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # from one short text to a full queue
GONE = 499  # nginx's status for a request whose client hung up
ROWS = tuple(2**power for power in range(BATCH_ROWS.bit_length()))


class Monitor:
    """Metrics of one server, in a separate registry; `unanswered` names and describes the count of texts without a label."""

    def __init__(self, labels: list[str], unanswered: tuple[str, str], window: Window | None):
        self.registry = CollectorRegistry()
        registry = {"registry": self.registry}
        ProcessCollector(registry=self.registry)
        self.requests = Counter("http_requests", "Requests answered", ["path", "status"], **registry)
        self.seconds = Histogram("http_request_seconds", "Time to the response", ["path"], buckets=SECONDS, **registry)
        self.open = Gauge("http_requests_open", "Requests being answered", **registry)
        self.batch = Histogram("batch_rows", "Rows in one model call", buckets=ROWS, **registry)
        self.waiting = Gauge("waiting_rows", "Rows waiting for a thread", **registry)
        texts = Counter("predicted_texts", "Texts classified by /predict, by label", ["label"], **registry)
        self.texts = [texts.labels(label) for label in labels]
        self.unanswered = Counter(*unanswered, **registry)
        self.answered = Counter("answered_texts", "Texts answered by /predict, with a label or without", **registry)
        if window:
            Gauge("drift_texts", "Texts in the window", **registry).set_function(lambda: len(window.places))
            distance = Gauge(
                "drift_distance", "Jensen-Shannon distance from validation, 0 to 1", ["feature"], **registry
            )
            limit = Gauge("drift_limit", "Distance above which the feature has drifted", ["feature"], **registry)
            for name in window.features:
                distance.labels(name).set_function(lambda name=name: window.distance(name))
                limit.labels(name).set_function(lambda name=name: window.limit(name))

    def count(self, answered: list[list[int]]):
        """Counts texts by their labels, of which only ids are given; a text with several labels counts under each."""
        self.answered.inc(len(answered))
        for ids in answered:
            for id in ids:
                self.texts[id].inc()
            if not ids:
                self.unanswered.inc()


class Measured:
    """ASGI middleware that counts and times requests by path, for the given `paths`.

    Any other path counts as "other"; otherwise anyone could fill the server's memory with made-up paths.
    """

    def __init__(self, app, monitor: Monitor, paths: set[str]):
        self.app, self.monitor, self.paths = app, monitor, paths

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        status = 500  # unless the application answers
        started = time.perf_counter()

        async def send_and_note(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.monitor.open.inc()
        try:
            await self.app(scope, receive, send_and_note)
        except asyncio.CancelledError:
            status = GONE
            raise
        finally:
            self.monitor.open.dec()
            self.monitor.requests.labels(path, status).inc()
            self.monitor.seconds.labels(path).observe(time.perf_counter() - started)
