"""Both event loops for a test's story, and waiting for a condition.

Whatever works on asyncio's own loop must work on uvloop.
"""

import asyncio
from collections.abc import Awaitable, Callable

import uvloop


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run `story()` to its end on each loop; two minutes are always enough."""

    async def bounded() -> None:
        async with asyncio.timeout(120):
            await story()

    for factory in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(bounded())


async def until(condition: Callable[[], object], what: str = "") -> None:
    """Give the loop turns until `condition` holds; fails with `what` after 60 s."""
    try:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)
    except TimeoutError:
        raise AssertionError(f"not within 60 s: {what or condition}") from None
