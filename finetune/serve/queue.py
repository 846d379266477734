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


class Job:
    """The rows of one request, and its answers as they arrive."""

    def __init__(self, rows: Sequence, done: asyncio.Future):
        self.rows, self.answers, self.missing, self.done = rows, [None] * len(rows), len(rows), done


class Batcher:
    """Answers rows in `workers` threads; one call of `work` may answer several requests.

    `work` takes a list of rows and returns a list of as many answers. No request is delayed to fill a batch: a free
    worker takes whatever is queued, and requests that arrive while all are busy form the next batch. At most `room` rows
    wait; a request that does not fit raises Full at once. Call all methods from one event loop.
    """

    def __init__(self, work: Callable[[list], list], workers: int, room: int, observe: Callable[[int], None]):
        self.work, self.free, self.room, self.observe = work, workers, room, observe
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="model")
        self.waiting: deque[tuple[Job, int]] = deque()

    async def answers(self, rows: Sequence) -> list:
        """One answer per row, in order. Raises Full, or any error of `work`."""
        self.check_room(len(rows))
        job = Job(rows, asyncio.get_running_loop().create_future())
        self.waiting.extend((job, index) for index in range(len(rows)))
        self.start()
        return await job.done

    def check_room(self, rows: int):
        """Raises Full if the queue has no room for that many more rows."""
        if len(self.waiting) + rows > self.room:
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
        """Rows for one free thread, without those of failed or cancelled requests."""
        size = min(BATCH_ROWS, math.ceil(len(self.waiting) / self.free))
        batch = []
        while self.waiting and len(batch) < size:
            job, index = self.waiting.popleft()
            if not job.done.done():
                batch.append((job, index))
        return batch

    def finish(self, batch: list[tuple[Job, int]], running: asyncio.Future):
        """Passes answers to their requests and starts the thread on the next rows."""
        self.free += 1
        error = running.exception()
        for number, (job, index) in enumerate(batch):
            if job.done.done():  # its other rows failed, or the client is gone
                continue
            if error:
                job.done.set_exception(error)
                continue
            job.answers[index] = running.result()[number]
            job.missing -= 1
            if not job.missing:
                job.done.set_result(job.answers)
        self.start()

    def close(self):
        """Waits for running calls and cancels waiting requests."""
        for job, _ in self.waiting:
            job.done.cancel()
        self.waiting.clear()
        self.pool.shutdown()
