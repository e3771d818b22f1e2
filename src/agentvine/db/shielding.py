"""Steps that a cancellation may delay but not tear apart.

A request is cancelled whenever its client leaves, and more than once where cancel scopes are
nested. A connection that is given back half-way keeps its lock, or, worse, rolls back the
transaction of whoever gets it next.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, however often the caller is cancelled; then the cancellation goes on."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that the loop does not complain
        raise cancelled
    return task.result()
