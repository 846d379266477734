"""Requests that share calls, and requests that nobody waits for any more."""

import asyncio
import threading

from finetune.serve.queue import Batcher


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


def test_closing_finishes_running_calls_and_starts_no_more():
    async def scenario(batcher, work, running):
        await cancelled(batcher, ["late"] * 40)
        waiting = asyncio.create_task(batcher.answers(["waiting"]))
        await asyncio.sleep(0)
        threading.Timer(0.1, work.go.set).start()
        batcher.close()
        assert await running == ["running"]
        await asyncio.wait([waiting], timeout=30)
        assert waiting.cancelled()

    assert with_one_thread(scenario) == ([["running"]], [])
