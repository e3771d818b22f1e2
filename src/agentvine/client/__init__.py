"""The typed HTTP client over ``/api/v1``, used by the command line, workers and scripts.

    async with Client("http://127.0.0.1:8420", token="avu_...") as client:
        task = await client.tasks.create(TaskCreateIn(title="Sort the imports"))
        async for item in client.executions.tail(execution_id):
            ...

Errors are those of ``agentvine.kit.errors``: a 404 raises a ``NotFound`` that carries the
server's ``code``, ``title``, ``detail`` and extra facts; a server that cannot be reached raises
``ServerUnreachable``, an ``Unavailable``.
"""

from agentvine.client.client import Client
from agentvine.client.errors import ApiError, NotAnAgentVineServer, ServerUnreachable
from agentvine.client.pages import Listing
from agentvine.client.transport import RetryPolicy

__all__ = [
    "ApiError",
    "Client",
    "Listing",
    "NotAnAgentVineServer",
    "RetryPolicy",
    "ServerUnreachable",
]
