"""A scripted upstream that other processes can reach."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Generator

import uvicorn

from agentvine.kit.errors import Unavailable
from agentvine.llm.scripted.script import Script
from agentvine.llm.scripted.upstream import ScriptedUpstream


class ModelAddressInUse(Unavailable):
    """The address for the scripted model is taken."""

    code = "model_address_in_use"


@contextlib.asynccontextmanager
async def serving(
    script: Script, *, host: str = "127.0.0.1", port: int = 0, handles_signals: bool = False
) -> AsyncGenerator[tuple[ScriptedUpstream, str, asyncio.Task[None]]]:
    """Serve a script while the block runs.

    Hands out the upstream, its address, and the task that serves: it ends before the block does
    only when a signal was to end it.

    Raises:
        ModelAddressInUse: Something listens there already.
    """
    upstream = ScriptedUpstream(script)
    listener = _listen(host, port)
    config = uvicorn.Config(
        upstream, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config, handles_signals=handles_signals)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield upstream, f"http://{host}:{listener.getsockname()[1]}", task
    finally:
        server.should_exit = True
        await task


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, handles_signals: bool) -> None:
        super().__init__(config)
        self._handles_signals = handles_signals

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        if not self._handles_signals:
            yield
            return
        with super().capture_signals():
            yield


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind((host, port))
        # From now on the kernel takes connections: who knows the address may use it at once.
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise ModelAddressInUse(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another --port."
        ) from error
    return listener
