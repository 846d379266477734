"""Joins rows of several requests into one model call, so that a busy server pays the overhead of a call once."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

# More rows gain nothing, because the model batches by tokens anyway, and make the next request wait longer.
BATCH_ROWS = 32


class Full(Exception):
    """A queue of at most `room` rows has no room for `rows` more."""

    def __init__(self, rows: int, room: int):
        super().__init__(rows, room)
        self.rows, self.room = rows, room


class Stopping(Exception):
    """The server stops, and the request was not answered in time."""


class Job:
    """The rows of one request, of which `begun` were given to a thread, and its answers as they arrive."""

    def __init__(self, rows: Sequence, done: asyncio.Future):
        self.rows, self.answers, self.missing, self.begun, self.done = rows, [None] * len(rows), len(rows), 0, done


class Batcher:
    """Answers rows in `workers` threads; one call of `work` may answer several requests.

    `work` takes a list of rows and returns a list of as many answers. No request is delayed to fill a batch: a free
    worker takes whatever is queued, and requests that arrive while all are busy form the next batch. Half of a
    batch is one row of each waiting request in turn (round robin), so that a short one never waits for all rows of a long
    one. The other half is of the oldest request, so that long ones end one by one and not all at the last moment. At most
    `room` rows wait; a request that does not fit raises Full at once. Call all methods from one event loop.
    """

    def __init__(self, work: Callable[[list], list], workers: int, room: int, observe: Callable[[int], None]):
        self.work, self.free, self.room, self.observe = work, workers, room, observe
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="model")
        self.oldest: dict[Job, None] = {}  # requests with rows that no thread has taken, in order of arrival
        self.turns: deque[Job] = deque()  # the same requests, the next one first; some may have no such rows any more
        self.unanswered: set[Job] = set()
        self.waiting = 0  # rows that no thread has taken
        self.stopping = False

    async def answers(self, rows: Sequence) -> list:
        """One answer per row, in order. Raises Full, Stopping, or any error of `work`. If cancelled, its rows are dropped."""
        self.check_room(len(rows))
        job = Job(rows, asyncio.get_running_loop().create_future())
        self.unanswered.add(job)
        self.oldest[job] = None
        self.turns.append(job)
        self.waiting += len(rows)
        self.start()
        try:
            return await job.done
        finally:
            self.unanswered.discard(job)
            self.drop(job)

    def check_room(self, rows: int):
        """Raises Full if the queue has no room for that many more rows, and Stopping after `stop`."""
        if self.stopping:
            raise Stopping
        if self.waiting + rows > self.room:
            raise Full(rows, self.room)

    def start(self):
        """Gives each free thread an equal part of the waiting rows."""
        while self.free and (batch := self.next_batch()):
            self.free -= 1
            self.observe(len(batch))
            rows = [job.rows[index] for job, index in batch]
            running = asyncio.get_running_loop().run_in_executor(self.pool, self.work, rows)
            running.add_done_callback(partial(self.finish, batch))

    def next_batch(self) -> list[tuple[Job, int]]:
        """Rows for one free thread: half of them in turn, half of the oldest request."""
        size = min(BATCH_ROWS, math.ceil(self.waiting / self.free))
        batch = []
        while self.oldest and len(batch) < math.ceil(size / 2):
            job = self.turns.popleft()
            if job in self.oldest:
                batch.append((job, self.take(job)))
                self.turns.append(job)
        while self.oldest and len(batch) < size:
            job = next(iter(self.oldest))
            batch.append((job, self.take(job)))
        if not self.oldest:
            self.turns.clear()
        return batch

    def take(self, job: Job) -> int:
        """Index of the next row of a request."""
        job.begun += 1
        self.waiting -= 1
        if job.begun == len(job.rows):
            del self.oldest[job]
        return job.begun - 1

    def drop(self, job: Job):
        """Takes the rows of a request out of the queue that no thread has taken."""
        if job in self.oldest:
            del self.oldest[job]
            self.waiting -= len(job.rows) - job.begun

    def finish(self, batch: list[tuple[Job, int]], running: asyncio.Future):
        """Passes answers to their requests and starts the thread on the next rows."""
        self.free += 1
        error = running.exception()
        for number, (job, index) in enumerate(batch):
            if job.done.done():  # its other rows failed, or the client is gone
                continue
            if error:
                job.done.set_exception(error)
                self.drop(job)
                continue
            job.answers[index] = running.result()[number]
            job.missing -= 1
            if not job.missing:
                job.done.set_result(job.answers)
        self.start()

    def stop(self):
        """Answers every request with Stopping, now and from now on; running calls go on, and nobody gets their answers."""
        self.stopping = True
        for job in self.unanswered:
            if not job.done.done():
                job.done.set_exception(Stopping())
            self.drop(job)

    def close(self):
        """Stops, and waits for running calls."""
        self.stop()
        self.pool.shutdown()
