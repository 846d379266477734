"""Requests that share calls, and requests that nobody waits for any more."""

import asyncio
import threading

import pytest

from finetune.serve.queue import Batcher, Stopping

ROWS = [("a", 40), ("b", 3), ("c", 1)]


class Work:
    """Returns rows as their own answers once `go` is set; `calls` records the rows of each call."""

    def __init__(self):
        self.calls: list[list[str]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, rows: list[str]) -> list[str]:
        self.calls.append(rows)
        self.begun.set()
        assert self.go.wait(30)
        return rows


def with_one_thread(scenario) -> tuple[list[list[str]], list[dict]]:
    """Calls of the work, and errors that the event loop reported, after `scenario(batcher, work, running)`.

    `running` is a request whose call has begun.
    """
    work, problems = Work(), []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))
        batcher = Batcher(work, workers=1, room=100, observe=lambda _: None)
        running = asyncio.create_task(batcher.answers(["running"]))
        await asyncio.to_thread(work.begun.wait, 30)
        await scenario(batcher, work, running)

    asyncio.run(main())
    return work.calls, problems


async def cancelled(batcher: Batcher, rows: list[str]):
    """Sends a request that waits and is then cancelled."""
    request = asyncio.create_task(batcher.answers(rows))
    await asyncio.sleep(0)
    assert batcher.waiting
    request.cancel()
    await asyncio.wait([request])


def test_rows_of_a_cancelled_request_use_no_thread():
    async def scenario(batcher, work, running):
        await cancelled(batcher, ["late"] * 40)
        wanted = asyncio.create_task(batcher.answers(["wanted"]))
        await asyncio.sleep(0)
        work.go.set()
        assert await running == ["running"]
        assert await wanted == ["wanted"]
        batcher.close()

    assert with_one_thread(scenario) == ([["running"], ["wanted"]], [])


def test_rows_of_a_cancelled_request_leave_room():
    async def scenario(batcher, work, running):
        await cancelled(batcher, ["late"] * 99)
        assert batcher.waiting == 0
        wanted = asyncio.create_task(batcher.answers(["wanted"] * 99))
        await asyncio.sleep(0)
        work.go.set()
        assert await wanted == ["wanted"] * 99
        await running
        batcher.close()

    with_one_thread(scenario)


def test_requests_take_turns():
    """While the thread is busy, one request of 40 rows comes, then one of 3 and one of 1.

    The next call takes 16 rows in turn, all of these 4 among them, and 16 of the oldest request.
    """

    async def scenario(batcher, work, running):
        sent = [
            asyncio.create_task(batcher.answers([name * 2 + str(row) for row in range(rows)])) for name, rows in ROWS
        ]
        await asyncio.sleep(0)
        work.go.set()
        found = await asyncio.gather(running, *sent)
        assert found[1:] == [[name * 2 + str(row) for row in range(rows)] for name, rows in ROWS]
        batcher.close()

    calls, problems = with_one_thread(scenario)
    assert problems == []
    assert [len(call) for call in calls] == [1, 32, 12]
    assert calls[1][:7] == ["aa0", "bb0", "cc0", "aa1", "bb1", "aa2", "bb2"]
    assert calls[1][7:] == [f"aa{row}" for row in range(3, 28)]


def test_closing_finishes_running_calls_and_starts_no_more():
    async def scenario(batcher, work, running):
        await cancelled(batcher, ["late"] * 40)
        waiting = asyncio.create_task(batcher.answers(["waiting"]))
        await asyncio.sleep(0)
        threading.Timer(0.1, work.go.set).start()
        batcher.close()
        for request in (running, waiting, batcher.answers(["new"])):
            with pytest.raises(Stopping):
                await request

    assert with_one_thread(scenario) == ([["running"]], [])
