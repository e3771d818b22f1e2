"""What a program reads on standard input while it runs, for those that are spoken to by lines."""

import asyncio
import os
from contextlib import suppress
from typing import IO


class ProgramInput:
    """One program's standard input. Use it from the loop's thread.

    What is written before the program has started waits for it.
    """

    def __init__(self) -> None:
        """Hold nothing; ``run_process`` connects it."""
        self._end = -1
        self._is_closed = False
        self._connected = asyncio.Event()
        self._turn = asyncio.Lock()
        self._blocked: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Hand over bytes, and wait until the program has taken them off our hands.

        Raises:
            OSError: The program reads no more.
        """
        await self._connected.wait()
        async with self._turn:
            view = memoryview(data)
            while view:
                if self._is_closed:
                    raise BrokenPipeError("the program's input is closed")
                try:
                    view = view[os.write(self._end, view) :]
                except BlockingIOError:
                    await self._wait_for_room()

    def close(self) -> None:
        """Let the program read an end; nothing can be written any more."""
        if self._is_closed:
            return
        self._is_closed = True
        self._connected.set()
        self._wake()
        if self._end >= 0:
            os.close(self._end)
            self._end = -1

    def connect(self) -> IO[bytes]:
        """The end that the program gets, to be closed here once it has it."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        if self._is_closed:
            os.close(writing)
        else:
            self._end = writing
            self._connected.set()
        return os.fdopen(reading, "rb", buffering=0)

    async def _wait_for_room(self) -> None:
        loop = asyncio.get_running_loop()
        self._blocked = loop.create_future()
        loop.add_writer(self._end, self._wake)
        try:
            await self._blocked
        finally:
            if self._end >= 0:
                loop.remove_writer(self._end)
            self._blocked = None

    def _wake(self) -> None:
        blocked = self._blocked
        if blocked is not None:
            if self._is_closed and self._end >= 0:
                # Before the number is given to another file.
                with suppress(RuntimeError):
                    blocked.get_loop().remove_writer(self._end)
            if not blocked.done():
                blocked.set_result(None)
