"""What Prometheus can ask the server: requests, batches, labels, drift."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from finetune.runtime.drift import Window
from finetune.serve.queue import BATCH_ROWS

SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # from one short text to a full queue
ROWS = tuple(2**power for power in range(BATCH_ROWS.bit_length()))


class Monitor:
    """Metrics of one server, in a registry of their own."""

    def __init__(self, labels: list[str], window: Window | None):
        self.registry = CollectorRegistry()
        own = {"registry": self.registry}
        ProcessCollector(registry=self.registry)
        self.requests = Counter("http_requests", "Requests answered", ["path", "status"], **own)
        self.seconds = Histogram("http_request_seconds", "Time to the answer", ["path"], buckets=SECONDS, **own)
        self.open = Gauge("http_requests_open", "Requests that are being answered", **own)
        self.batch = Histogram("batch_rows", "Rows in one call of the model", buckets=ROWS, **own)
        self.waiting = Gauge("waiting_rows", "Rows that wait for a thread", **own)
        texts = Counter("predicted_texts", "Texts of /predict by predicted label", ["label"], **own)
        self.texts = [texts.labels(label) for label in labels]
        if window:
            Gauge("drift_texts", "Texts in the window", **own).set_function(lambda: len(window.places))
            distance = Gauge("drift_distance", "Jensen-Shannon distance from validation, 0 to 1", ["feature"], **own)
            limit = Gauge("drift_limit", "Distance above which it is called drift", ["feature"], **own)
            for name in window.features:
                distance.labels(name).set_function(lambda name=name: window.distance(name))
                limit.labels(name).set_function(lambda name=name: window.limit(name))


class Measured:
    """ASGI application around another one that counts and times its requests; `paths` are those with a name of their own.

    Others count as "other", or anyone could fill the server's memory with names.
    """

    def __init__(self, app, monitor: Monitor, paths: set[str]):
        self.app, self.monitor, self.paths = app, monitor, paths

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self.paths else "other"
        status = 500  # unless the application comes to an answer
        started = time.perf_counter()

        async def send_and_note(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self.monitor.open.inc()
        try:
            await self.app(scope, receive, send_and_note)
        finally:
            self.monitor.open.dec()
            self.monitor.requests.labels(path, status).inc()
            self.monitor.seconds.labels(path).observe(time.perf_counter() - started)
