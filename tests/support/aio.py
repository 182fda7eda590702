"""Queues of asyncio as tests use them: a loop that reports what is lost, a gate for their waits."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from actionqueue.aio import AsyncQueue

PATIENCE_S = 60.0


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a loop that reports what is never awaited or retrieved."""
    reported: list[dict[str, Any]] = []

    async def watched() -> Any:
        asyncio.get_running_loop().set_exception_handler(
            lambda _loop, context: reported.append(context)
        )
        async with asyncio.timeout(PATIENCE_S):
            return await work

    answer = asyncio.run(watched())
    gc.collect()
    assert reported == []
    return answer


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what no event tells of."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class Gate:
    """Holds up the waits for durability of a queue, and counts them."""

    def __init__(self, queue: AsyncQueue) -> None:
        self.syncer = queue._syncer
        self.through = self.syncer._wait_durable
        self.asked: list[int] = []
        self.has_come = threading.Semaphore(0)
        self.may_go = threading.Event()
        self.syncer._wait_durable = self

    def __call__(self, sequence: int) -> None:
        self.asked.append(sequence)
        self.has_come.release()
        assert self.may_go.wait(PATIENCE_S)
        self.through(sequence)

    async def reached(self) -> None:
        assert await asyncio.to_thread(self.has_come.acquire, timeout=PATIENCE_S)
