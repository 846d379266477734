"""HTTP connections within bounds: how many are open, and how long a client may take for each step.

uvicorn limits how long a connection may be idle between two requests, and nothing else: a client that sends nothing, or a
byte now and then, keeps its connection for ever (Kludex/uvicorn, issue 157). hypercorn limits each single read, which a byte
now and then satisfies. So this is uvicorn's own protocol with a time by which each step must be done.
"""

import asyncio
import contextlib
import json
import logging
import resource
import sys
import time

import h11
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol

from finetune.base.errors import UserError
from finetune.base.terminal import say
from finetune.serve.guard import SECONDS_FOR_A_BODY, security_headers

SECONDS_FOR_HEADERS = 5  # from the first moment of a connection, or from the answer before, to the end of the headers
SECONDS_UNREAD = 5  # without any part of an answer being taken
ACCEPTED_AT_ONCE = (
    16  # connections; asyncio notices each only a few rounds of its loop after it has accepted all of them
)
KEPT_FREE = 128  # descriptors: for files, the model, threads, and several rounds of accepting
LEAST = 16  # connections, below which a server is of no use
ONCE_IN = 60  # seconds, for equal lines of the log
ENDS = {
    h11.IDLE: SECONDS_FOR_HEADERS,
    h11.SEND_BODY: SECONDS_FOR_A_BODY + 1,
}  # the guard is first to end a body, with 408

log = logging.getLogger("uvicorn.error")


def most_connections(wanted: int) -> int:
    """Connections that may be open, so that descriptors stay free to accept and close others.

    Prints a line if the limit of open files allows fewer than wanted. Raises UserError if it allows next to none.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY or files - KEPT_FREE >= wanted:
        return wanted
    if files - KEPT_FREE < LEAST:
        raise UserError(
            f"`ulimit -n` allows {files} open files, and the server needs at least {KEPT_FREE + LEAST}; raise it"
        )
    say(
        f"{files} open files (`ulimit -n`) leave room for {files - KEPT_FREE} connections instead of {wanted}",
        file=sys.stderr,
    )
    return files - KEPT_FREE


class OncePerMinute(logging.Filter):
    """Keeps a line out of the log if the same one was logged within a minute; the next one says how many were kept out."""

    def __init__(self):
        super().__init__()
        self.seen: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is logged."""
        line, now = record.getMessage(), time.monotonic()
        logged, left_out = self.seen.get(line, (-ONCE_IN, 0))
        if now - logged < ONCE_IN:
            self.seen[line] = logged, left_out + 1
            return False
        if len(self.seen) > 100:  # lines that hold an error's text may all differ
            self.seen.clear()
        self.seen[line] = now, 0
        if left_out:
            record.msg, record.args = f"{line} ({left_out} more since the last such line)", ()
        return True


class Connection(H11Protocol):
    """One connection. `most` may be open at a time; once a stop has begun (`stopping`), none is kept for another request.

    `due` is the time by which the client must have sent the headers or the body that are missing; None while it waits for
    an answer. `unread_since` is the time since when an answer waits to be taken.
    """

    most: int
    stopping = False

    def __init__(self, **of_uvicorn):
        super().__init__(**of_uvicorn)
        self.application, self.app = self.app, self.answer
        self.task: asyncio.Task | None = None
        self.step, self.due, self.unread_since = None, None, None

    def connection_made(self, transport):
        """Begins; makes room for the connection if it is one too many."""
        super().connection_made(transport)
        self.note_step()
        if len(self.connections) > self.most:
            self.make_room()

    def make_room(self):
        """Closes the connection that has been without a whole request for longest, or this one if all wait for answers."""
        idle = [
            other
            for other in self.connections
            if other.due is not None and other is not self and not other.transport.is_closing()
        ]
        if idle:
            log.warning(
                f"{self.most} connections are open: the one closest to its time limit makes room for the next; "
                "--connections allows more"
            )
            min(idle, key=lambda other: other.due).transport.abort()
        else:
            log.warning(f"{self.most} connections wait for answers: the next is refused; --connections allows more")
            self.refuse(503, "too many connections; try again later", (b"retry-after", b"1"))

    def connection_lost(self, exc):
        """Ends; nobody waits for the answer any more, so the request is cancelled."""
        super().connection_lost(exc)
        if self.task is not None and not self.cycle.response_complete:
            self.task.cancel()

    def data_received(self, data):
        """Passes bytes on to h11."""
        super().data_received(data)
        self.note_step()

    def on_response_complete(self):
        """Goes on with the next request."""
        if self.unread_since is not None:
            self.unread_since = self.loop.time()
        super().on_response_complete()
        self.note_step()

    def note_step(self):
        """Sets the time limit when the client's part enters another step: headers, body, or none while the answer is due."""
        if self.conn.their_state is not self.step:
            self.step = self.conn.their_state
            seconds = ENDS.get(self.step)
            self.due = None if seconds is None else self.loop.time() + seconds

    def check_limits(self):
        """Closes the connection if its client is too slow; called every second."""
        now = self.loop.time()
        if not self.transport.get_write_buffer_size():
            self.unread_since = None
        elif self.unread_since is None:
            self.unread_since = now
        elif now - self.unread_since > SECONDS_UNREAD:
            self.transport.abort()
        if self.due is not None and now > self.due and not self.transport.is_closing():
            if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                self.refuse(408, f"the headers did not arrive within {SECONDS_FOR_HEADERS} seconds")
            else:
                self.transport.close()

    async def answer(self, scope, receive, send):
        """The application, cancelled when the client is gone."""
        self.task = asyncio.current_task()
        if type(self).stopping:
            self.cycle.keep_alive = False
        try:
            await self.application(scope, receive, send)
        except asyncio.CancelledError:
            if not self.cycle.disconnected:
                raise

    def send_400_response(self, msg):  # noqa: ARG002 (h11 words it for itself)
        """Refuses what is not HTTP, with our headers and in JSON."""
        self.refuse(400, "the request is not valid HTTP, or its headers are too large")

    def refuse(self, status: int, detail: str, *headers: tuple[bytes, bytes]):
        """Answers without the application, and closes."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the application's answer, if any, has no place any more
            self.task.cancel() if self.task else None
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"detail": detail}).encode()
            about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            answer = h11.Response(
                status_code=status,
                headers=[*about, *headers, *security_headers(""), (b"connection", b"close")],
                reason=STATUS_PHRASES[status],
            )
            with contextlib.suppress(h11.LocalProtocolError):  # what the client sent leaves no room for an answer
                for event in (answer, h11.Data(body), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event))
        self.transport.close()

    def shutdown(self):
        """Closes an idle connection; the others end with their answers."""
        if not self.transport.is_closing():
            super().shutdown()

    def _unsupported_upgrade_warning(self):
        """Says nothing: a client may ask for another protocol, and gets HTTP."""
