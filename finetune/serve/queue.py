"""Rows of many requests joined into one call of the model, so that a busy server pays each call's overhead once."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

BATCH_ROWS = (
    32  # more rows gain nothing (the model batches them by tokens anyway) and make the next request wait longer
)


class Full(Exception):
    """There is no room for so many `rows` more in a queue of `room` rows."""

    def __init__(self, rows: int, room: int):
        super().__init__(rows, room)
        self.rows, self.room = rows, room


class Job:
    """The rows of one request, and its answers as they come."""

    def __init__(self, rows: Sequence, done: asyncio.Future):
        self.rows, self.answers, self.missing, self.done = rows, [None] * len(rows), len(rows), done


class Batcher:
    """Answers to rows, several requests in one call of `work`, in `workers` threads.

    `work` takes a list of rows and gives a list of as many answers. Nothing waits for company: a free thread
    takes what there is, and what comes while all are busy goes together into the next calls. At most `room` rows wait;
    what does not fit raises Full at once. All methods belong to one event loop.
    """

    def __init__(self, work: Callable[[list], list], workers: int, room: int, observe: Callable[[int], None]):
        self.work, self.free, self.room, self.observe = work, workers, room, observe
        self.pool = ThreadPoolExecutor(workers, thread_name_prefix="model")
        self.waiting: deque[tuple[Job, int]] = deque()

    async def answers(self, rows: Sequence) -> list:
        """An answer a row, in their order. Raises Full, or what `work` raised."""
        self.check_room(len(rows))
        job = Job(rows, asyncio.get_running_loop().create_future())
        self.waiting.extend((job, place) for place in range(len(rows)))
        self.start()
        return await job.done

    def check_room(self, rows: int):
        """Raises Full when that many rows more may not wait."""
        if len(self.waiting) + rows > self.room:
            raise Full(rows, self.room)

    def start(self):
        """Gives free threads work, each an equal part of what waits."""
        while self.free and (batch := self.next_batch()):
            self.free -= 1
            self.observe(len(batch))
            rows = [job.rows[place] for job, place in batch]
            running = asyncio.get_running_loop().run_in_executor(self.pool, self.work, rows)
            running.add_done_callback(partial(self.finish, batch))

    def next_batch(self) -> list[tuple[Job, int]]:
        """Rows for one free thread; those whose request failed or was cancelled are left out."""
        size = min(BATCH_ROWS, math.ceil(len(self.waiting) / self.free))
        batch = []
        while self.waiting and len(batch) < size:
            job, place = self.waiting.popleft()
            if not job.done.done():
                batch.append((job, place))
        return batch

    def finish(self, batch: list[tuple[Job, int]], running: asyncio.Future):
        """Hands answers to their requests, and the thread to the next rows."""
        self.free += 1
        error = running.exception()
        for number, (job, place) in enumerate(batch):
            if job.done.done():  # its other rows failed, or nobody waits any more
                continue
            if error:
                job.done.set_exception(error)
                continue
            job.answers[place] = running.result()[number]
            job.missing -= 1
            if not job.missing:
                job.done.set_result(job.answers)
        self.start()

    def close(self):
        """Waits for the calls that run; requests that wait for one are cancelled."""
        for job, _ in self.waiting:
            job.done.cancel()
        self.waiting.clear()
        self.pool.shutdown()
