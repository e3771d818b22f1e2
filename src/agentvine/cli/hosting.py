"""The server a command works with: one that is there, or one of its own for as long as it runs."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from agentvine.cli.connection import NoServer, find_connection
from agentvine.cli.lazy import load
from agentvine.cli.session import Session
from agentvine.cli.temporary import ServerNotStarted, TemporaryPlan, TemporaryServer
from agentvine.config.local_server import find_local_server
from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import CapabilityLevel


class NobodyWouldWork(Invalid):
    """Nobody would do this."""

    code = "nobody_would_work"


class Hosting:
    """Finds a server or starts one; finds it again, or starts it again, when it is gone."""

    def __init__(self, session: Session, plan: TemporaryPlan) -> None:
        """Prepare; entering finds or starts the server."""
        self._session = session
        self._plan = plan
        self._own: TemporaryServer | None = None
        self._leans_on_temporary = False

    @property
    def is_own(self) -> bool:
        """Whether the server ends with this command."""
        return self._own is not None

    async def __aenter__(self) -> Self:
        """Find the server, or start one."""
        try:
            connection = find_connection(self._session.settings, self._session.options)
        except NoServer:
            await self._start()
        else:
            await self._session.use(connection)
            self._note_whose()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End a server of our own, with its workers."""
        if self._own is not None:
            await self._session.close()
            await self._own.stop()

    async def reconnect(self) -> bool:
        """Look where the server is now, if it is one of this data directory.

        One that belonged to another command may be gone for good: then we need one of our own.

        Returns:
            Whether the session now asks at another address, or with another token.
        """
        before = self._session.connection
        if before.origin != "local":
            return False
        if self._own is not None and not self._own.is_alive:
            await self._start()
            return True
        local = find_local_server(self._session.settings.data_dir)
        if local is None and self._own is None and self._leans_on_temporary:
            await self._start()
            return True
        if local is None or (local.url, local.token) == (before.url, before.token):
            return False
        await self._session.use(find_connection(self._session.settings, self._session.options))
        self._note_whose()
        return True

    async def _start(self) -> None:
        # A server of our own has only workers of this installation: nobody else would ever come.
        await load("agentvine.runtimes.registry:require_runtime")(self._plan.runtime)
        self._session.out.note("no server runs here: starting one for this command")
        own = TemporaryServer(self._plan)
        try:
            connection = await own.start()
        except ServerNotStarted:
            # Another command may have been faster: then there is one to use.
            if find_local_server(self._session.settings.data_dir) is None:
                raise
            connection = find_connection(self._session.settings, self._session.options)
            self._own = None
        else:
            self._own = own
        await self._session.use(connection)
        self._note_whose()

    def _note_whose(self) -> None:
        local = find_local_server(self._session.settings.data_dir)
        self._leans_on_temporary = (
            self._own is None
            and local is not None
            and local.is_temporary
            and local.url == self._session.connection.url
        )


def plan_for(session: Session, values: dict[str, Any]) -> TemporaryPlan:
    """A server whose one worker can do the task that is described by the options of ``run``."""
    capabilities: Sequence[tuple[str, CapabilityLevel]] = values.get("capabilities") or ()
    return TemporaryPlan(
        data_dir=session.settings.data_dir,
        capabilities=[f"{name}:{level.value}" for name, level in capabilities],
        queues=[values["queue"]] if values.get("queue") else (),
        runtime=values.get("runtime") or "command",
    )


def require_server(session: Session) -> None:
    """See that a server is there.

    Raises:
        NobodyWouldWork: None is known, and one of our own would end with this command.
    """
    try:
        find_connection(session.settings, session.options)
    except NoServer:
        raise NobodyWouldWork(
            "With --no-wait a server must be there to go on with it: start one with "
            "`agentvine up`, or wait for the end."
        ) from None
