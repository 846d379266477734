"""uvicorn's server with an end in steps: what was accepted is answered in time, or gets 503, and the process ends."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable

import uvicorn

from finetune.serve.connections import ACCEPTED_AT_ONCE, Connection, OncePerMinute

BACKLOG = 2048  # connections waiting to be accepted, so that a burst of clients is not refused
ANSWER = 7  # seconds after a stop signal to answer accepted requests; the rest get 503
CUT = 8.5  # seconds after which clients that still take no answer lose their connections
FINISH = 9  # seconds after which the server ends in any case; Docker kills after ten
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Server(uvicorn.Server):
    """Serves `app` within bounds. `refuse` is called when accepted requests can no longer wait for their answers."""

    def __init__(self, app, connections: int, refuse: Callable[[], None]):
        super().__init__(
            uvicorn.Config(
                app,
                http=type("Connection", (Connection,), {"most": connections}),
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                backlog=ACCEPTED_AT_ONCE,
                timeout_graceful_shutdown=FINISH,
            )
        )
        self.refuse = refuse
        for name in ("uvicorn.error", "asyncio"):  # asyncio's tells of descriptors that other programs used up
            logging.getLogger(name).addFilter(OncePerMinute())

    async def startup(self, sockets=None):
        """Starts to listen, and to check the connections."""
        await super().startup(sockets)
        for opened in sockets:
            opened.listen(BACKLOG)  # asyncio has one number for this and for how many it accepts at once
        self.checking = asyncio.create_task(self.check_connections())

    async def check_connections(self):
        """Closes connections whose clients are too slow, every second."""
        while True:
            await asyncio.sleep(1)
            for connection in list(self.server_state.connections):
                connection.check_limits()

    async def shutdown(self, sockets=None):
        """Stops to accept, answers what was accepted, and refuses what takes too long."""
        loop = asyncio.get_running_loop()
        self.config.http_protocol_class.stopping = True
        loop.call_later(ANSWER, self.refuse)
        loop.call_later(CUT, self.cut)
        await super().shutdown(sockets)

    def cut(self):
        """Closes connections at once."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self):
        """Handles the signals until the process ends. A hang-up that the caller ignores, as nohup does, stays ignored."""
        for number in STOPS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self.handle_exit)
        yield

    def handle_exit(self, sig, frame):
        """Begins the end; a second signal ends the process at once."""
        if self.should_exit:
            os.write(2, b"stopped at once\n")
            os._exit(128 + sig)
        super().handle_exit(sig, frame)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C stopped the server."""
        return signal.SIGINT in self._captured_signals
