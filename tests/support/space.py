"""Somebody's project as its owner uses it over HTTP, and a worker that speaks the protocol."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2

from agentvine.kit.ids import new_id, random_token
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_project, make_repository

Json = dict[str, Any]


@dataclass
class Space:
    """A project with a repository, its owner's client, and a queue of its own."""

    api: Api
    owner: Caller
    project_id: str
    repository_id: str
    queue: str

    async def task(self, *, key: str | None = None, **fields: Any) -> Json:
        """Make a task that can be run; ``run_...`` fields go into its run."""
        run = {"command": "true", "queue_name": self.queue}
        run |= {name[4:]: fields.pop(name) for name in list(fields) if name.startswith("run_")}
        body = {"title": unique("task"), "repository_id": self.repository_id, "run": run, **fields}
        headers = {"Idempotency-Key": key} if key else {}
        return await self.owner.post("/tasks", body, headers=headers)

    async def idle(self, **fields: Any) -> Json:
        """Make a task that nobody has started."""
        return await self.task(start=False, **fields)

    async def get(self, task: Json) -> Json:
        """A task as it is now."""
        return await self.owner.get(f"/tasks/{task['id']}")

    async def where(self, task: Json) -> tuple[str, str | None]:
        """Where a task stands, and why."""
        now = await self.get(task)
        return now["status"], now["status_reason"]

    async def act(self, task: Json, action: str, body: Any = None) -> Json:
        """Start, cancel or retry a task."""
        return await self.owner.post(f"/tasks/{task['id']}/{action}", body)

    async def orders(self, task: Json) -> list[Json]:
        """A task's work orders, newest first."""
        return (await self.owner.get("/queue/orders", params={"task_id": task["id"]}))["items"]

    async def changes(self, task: Json) -> list[Json]:
        """A task's changes, newest first."""
        return (await self.owner.get("/modifications", params={"task_id": task["id"]}))["items"]

    async def depend(self, task: Json, on: Json, kind: str = "blocks") -> Json:
        """Make a task wait for another."""
        return await self.owner.post(
            f"/tasks/{task['id']}/dependencies", {"depends_on": on["id"], "type": kind}
        )

    async def worker(self, **registration: Any) -> "WireWorker":
        """Register a worker of this project's queue, with a token of its own."""
        worker = WireWorker(await self.api.worker(unique("token")), self.queue, registration)
        await worker.register()
        return worker

    async def finish(self, task: Json) -> None:
        """Let a worker take the queue's next order, which must be this task's, and end it."""
        worker = await self.worker()
        order = await worker.claim_one()
        assert order["payload"]["task_id"] == task["id"]
        await worker.complete(order)


async def make_space(api: Api, *, path: str | None = None) -> Space:
    """A new owner with a new project; ``path`` is a real repository, where one is needed."""
    owner = await api.person(unique("owner"))
    async with api.database.transaction(owner.actor) as tx:
        project = await make_project(tx, owner.actor)
        repository = await make_repository(tx, owner.actor, project, path=path)
    return Space(api, owner, str(project.id), str(repository.id), unique("queue"))


@dataclass
class WireWorker:
    """A worker's process as the server sees it: HTTP messages."""

    caller: Caller
    queue: str
    registration: Json
    name: str = field(default_factory=lambda: unique("worker"))
    session_id: str = field(default_factory=lambda: str(new_id()))
    worker_id: str = ""

    async def register(self, *, held: list[str] | None = None) -> Json:
        """Introduce this process."""
        body = {
            "name": self.name,
            "session_id": self.session_id,
            "runtimes": ["command"],
            "queues": [self.queue],
            "max_concurrent_tasks": 10,
            "held": held or [],
            **self.registration,
        }
        answer = await self.caller.post("/workers/register", body)
        self.worker_id = answer["worker_id"]
        return answer

    @property
    def who(self) -> Json:
        return {"worker_id": self.worker_id, "session_id": self.session_id}

    async def claim(self, *, token: str | None = None, **more: Any) -> list[Json]:
        """Ask for orders."""
        body = self.who | {"claim_token": token or random_token(24)} | more
        return (await self.caller.post("/queue/claim", body))["orders"]

    async def claim_one(self) -> Json:
        """Claim the one order that must be there."""
        (order,) = await self.claim()
        return order

    async def beat(self, *orders: Json, phase: str = "running") -> Json:
        """One beat for some claims."""
        held = [claim_of(order) | {"phase": phase} for order in orders]
        return await self.caller.post("/queue/heartbeat", self.who | {"held": held})

    async def complete(self, order: Json, **report: Any) -> Json:
        """Report success."""
        body = claim_of(order) | {"report": report}
        return await self.caller.post("/queue/complete", body)

    async def fail(self, order: Json, failure_class: str = "command_failed", **more: Any) -> Json:
        """Report failure."""
        body = {"failure_class": failure_class, "message": "it went wrong", **more}
        return await self.caller.post("/queue/fail", claim_of(order) | body)

    async def log(
        self, order: Json, *messages: str, first_seq: int = 1, stream: str = "stdout"
    ) -> httpx2.Response:
        """Send lines, whatever comes back."""
        return await self.caller.call(
            "POST",
            f"/executions/{order['execution_id']}/logs",
            json=log_body(order, *messages, first_seq=first_seq, stream=stream),
        )

    async def put_bundle(
        self, order: Json, content: bytes, *, sha256: str | None = None
    ) -> httpx2.Response:
        """Send commits, whatever comes back."""
        digest = sha256 or hashlib.sha256(content).hexdigest()
        return await self.caller.call(
            "PUT",
            f"/executions/{order['execution_id']}/bundle",
            params=claim_of(order) | {"sha256": digest},
            content=content,
        )


def claim_of(order: Json) -> Json:
    """What every message about a claim carries."""
    return {"order_id": order["order_id"], "fence": order["fence"]}


def log_body(
    order: Json, *messages: str, first_seq: int = 1, stream: str = "stdout", **line: Any
) -> Json:
    """A batch of lines, just written."""
    now = datetime.now(UTC).isoformat()
    lines = [{"message": text, "logged_at": now, **line} for text in messages]
    return claim_of(order) | {"stream": stream, "first_seq": first_seq, "lines": lines}
