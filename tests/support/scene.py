"""One row of every kind that people can ask for, and people who may and may not see them."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

from agentvine.domains.contexts import service as contexts
from agentvine.domains.contexts.service import Snapshot
from agentvine.domains.gateway.bodies import BodyKeeper, Tape
from agentvine.domains.planning.chat_log import ChatEntry, Proposal, write_entries
from agentvine.domains.plans.models import ChatSession
from agentvine.domains.projects import service as projects
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks import dependencies
from agentvine.domains.usage.models import TokenUsage
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import DependencyType, UserRole
from agentvine.protocol.projects import MemberIn
from agentvine.protocol.tasks import DependencyIn
from tests.support.api import Api, Caller
from tests.support.builders.identity import make_user, unique
from tests.support.builders.projects import make_project, make_repository
from tests.support.builders.tasks import make_task
from tests.support.space import log_body

_BUNDLE = (
    b"# v2 git bundle\n" + b"2" * 40 + b" refs/heads/agentvine/t-1\n\nPACK"  # nobody unpacks it
)


Names = dict[str, str]
"""By the names that the routes' paths have for them: the ids of rows."""


@dataclass(frozen=True)
class People:
    """Everybody who may come to a project, or may not."""

    owner: Caller
    outsider: Caller
    """A developer who is no member."""
    viewer: Caller
    """A member whose role, over all projects, is to look."""
    reader: Caller
    """A developer who is a member only to look."""
    admin: Caller
    stranger: Caller
    worker: Caller


@dataclass(frozen=True)
class Scene:
    """The rows of one project in use, by the names that the routes' paths have for their ids."""

    names: dict[str, str]

    def fill(self, template: Any) -> Any:
        """The template with ``{project_id}`` and the like replaced by the scene's own."""
        if isinstance(template, str):
            return template.format(**self.names) if "{" in template else template
        if isinstance(template, dict):
            return {key: self.fill(value) for key, value in template.items()}
        return template


async def make_people(api: Api) -> People:
    """One of each kind."""
    return People(
        owner=await api.person(unique("owner")),
        outsider=await api.person(unique("outsider")),
        viewer=await api.person(unique("viewer"), UserRole.VIEWER),
        reader=await api.person(unique("reader")),
        admin=await api.person(unique("admin"), UserRole.ADMIN),
        stranger=await api.anonymous(),
        worker=await api.worker(unique("token")),
    )


async def make_scene(
    api: Api,
    people: People,
    wanted: Collection[str] | None = None,
    *,
    path: str | None = None,
) -> Scene:
    """A project with a repository, members, and a task whose change waits for approval.

    Args:
        api: The server.
        people: Who comes to it.
        wanted: The names that matter; what none of them needs is left out, since a run and a
            provider cost ten times as much as a project. None: everything.
        path: A real repository, where one is looked into.
    """
    owner = people.owner.actor
    async with api.database.transaction(owner) as tx:
        project = await make_project(tx, owner)
        repository = await make_repository(tx, owner, project, path=path)
        queue = unique("queue")
        task = await make_task(tx, owner, repository, run={"command": "true", "queue_name": queue})
        other = await make_task(tx, owner, repository, start=False)
        third = await make_task(tx, owner, repository, start=False)
        fellow = await make_user(tx, unique("fellow"))
        related = DependencyIn(depends_on=task.id, type=DependencyType.RELATED)
        await dependencies.add_dependency(tx, owner, other.id, related)
        for username, role in (
            (people.viewer.actor.username, "developer"),
            (people.reader.actor.username, "viewer"),
            (fellow.username, "developer"),
        ):
            await projects.set_member(tx, project, MemberIn(username=username, role=role))
    names = {
        "project_id": str(project.id),
        "repository_id": str(repository.id),
        "task_id": str(task.id),
        "conversation_id": str(task.conversation_id),
        "other_id": str(other.id),
        "third_id": str(third.id),
        "username": fellow.username,
        "user_id": str(fellow.id),
        "unique": unique("thing"),
    }
    for made, make in _MORE.items():
        if wanted is None or not made.isdisjoint(wanted):
            names |= await make(api, people, names, queue)
    return Scene(names)


async def _with_run(api: Api, people: People, names: Names, queue: str) -> Names:
    held = await _run(api, people.worker, queue)
    task = {"task_id": names["task_id"]}
    changes = await people.owner.get("/modifications", params=task)
    files = f"/questions/{held['question_id']}/attachments"
    file = await people.owner.call("POST", files, params={"name": "a.txt"}, content=b"a")
    made = {"modification_id": changes["items"][0]["id"], "chat_file_id": file.json()["id"]}
    return held | made


async def _with_budget(api: Api, people: People, names: Names, queue: str) -> Names:
    body = {
        "name": unique("budget"),
        "scope": "project",
        "project_id": names["project_id"],
        "amount_usd": "10.00",
    }
    return {"budget_id": (await people.owner.post("/budgets", body))["id"]}


async def _with_agent(api: Api, people: People, names: Names, queue: str) -> Names:
    body = {"name": unique("agent"), "type": "coder", "project_id": names["project_id"]}
    return {"agent_id": (await people.owner.post("/agents", body))["id"]}


async def _with_plan(api: Api, people: People, names: Names, queue: str) -> Names:
    goal = {"artifact_type": "feature_plan", "content": {"goal": "Grow."}}
    steps = {
        "artifact_type": "implementation_steps",
        "content": {"steps": [{"key": "one", "title": "Grow"}]},
    }
    body = {
        "name": unique("plan"),
        "repository_id": names["repository_id"],
        "artifacts": [goal, steps],
    }
    plan = await people.owner.post("/plans", body)
    return {"plan_id": plan["id"], **await _with_chat(api, people, plan["id"])}


async def _with_chat(api: Api, people: People, plan_id: str) -> Names:
    """A chat with an answer that proposes something; no model is asked for it."""
    made = await people.owner.post(f"/plans/{plan_id}/chat")
    proposal = Proposal(id=new_id(), artifact_type="feature_plan", content={"goal": "Grow."})
    async with api.database.transaction() as tx:
        session = await tx.get_one(ChatSession, uuid.UUID(made["id"]))
        answer = ChatEntry(
            id=new_id(), role="assistant", text="Grow.", proposals=[proposal], created_at=tx.now
        )
        write_entries(session, [answer])
    return {"chat_id": made["id"], "proposal_id": str(proposal.id)}


async def _with_template(api: Api, people: People, names: Names, queue: str) -> Names:
    body = {"name": f"t-{new_id()}", "category": "api", "files": {"a.txt": "a"}}
    template = await people.owner.post("/templates", body | {"project_id": names["project_id"]})
    return {"template_id": template["id"]}


async def _with_team_run(api: Api, people: People, names: Names, queue: str) -> Names:
    part = {"run": {"command": "true", "queue_name": queue}}
    roles = dict.fromkeys(("architect", "coder", "tester", "reviewer"), part)
    body = {"goal": "Grow.", "repository_id": names["repository_id"], **roles}
    return {"run_id": (await people.owner.post("/team-runs", body))["id"]}


async def _with_document(api: Api, people: People, names: Names, queue: str) -> Names:
    of_project = {"project_id": names["project_id"]}
    body = {"title": "A guide", "content": "A needle.", "document_type": "guide"}
    document = await people.owner.post("/documents", body | of_project)
    rules = f"/projects/{names['project_id']}/document-rules"
    rule = await people.owner.post(rules, {"document_id": document["id"]})
    return {"document_id": document["id"], "version": "1", "document_rule_id": rule["id"]}


async def _with_context(api: Api, people: People, names: Names, queue: str) -> Names:
    """A snapshot as if git had been asked, with a variable and a kept file."""
    project_id = uuid.UUID(names["project_id"])
    blob = {"project_id": project_id, "hash": "1" * 40, "size": 1, "content": "x"}
    found = Snapshot(
        branch="main",
        commit_id="2" * 40,
        codebase={"a.txt": {"hash": blob["hash"], "bytes": 1, "kind": "file"}},
        total_bytes=1,
        dependencies=[],
        deployment={},
        metrics={},
    )
    async with api.database.transaction(people.owner.actor) as tx:
        repository = await tx.get_one(Repository, uuid.UUID(names["repository_id"]))
        await contexts.keep_blobs(tx, [blob])
        made = await contexts.keep_snapshot(tx, repository, found)
    path = f"/contexts/{made.id}/environment/TOKEN"
    await people.owner.call("PUT", path, json={"value": "hidden"})
    return {"context_id": str(made.id), "name": "TOKEN"}


async def _with_notification(api: Api, people: People, names: Names, queue: str) -> Names:
    return {"notification_id": (await people.owner.post("/notifications/test", {}))["id"]}


async def _with_message(api: Api, people: People, names: Names, queue: str) -> Names:
    path = f"/conversations/{names['conversation_id']}/messages"
    message = await people.owner.post(path, {"content": "hello"})
    files = f"{path}/{message['id']}/attachments"
    file = await people.owner.call("POST", files, params={"name": "a.txt"}, content=b"a")
    return {"message_id": message["id"], "attachment_id": file.json()["id"]}


async def _with_provider(api: Api, people: People, names: Names, queue: str) -> Names:
    provider = await _add_provider(people.owner, names["project_id"])
    return {"provider_id": provider["id"], "credential_id": provider["credentials"][0]["id"]}


async def _with_rule(api: Api, people: People, names: Names, queue: str) -> Names:
    body = {"effect": "deny", "tool": "Bash", "pattern": "git push *"}
    path = f"/projects/{names['project_id']}/answer-rules"
    return {"rule_id": (await people.owner.post(path, body))["id"]}


async def _with_token(api: Api, people: People, names: Names, queue: str) -> Names:
    token = await people.owner.post("/tokens", {"name": "one to revoke"})
    return {"token_id": token["info"]["id"]}


async def _with_invitation(api: Api, people: People, names: Names, queue: str) -> Names:
    body = {"name": "one to withdraw"}
    invitation = await people.admin.post("/workers/invitations", body)
    return {"enrolment_id": invitation["info"]["id"]}


async def _with_price(api: Api, people: People, names: Names, queue: str) -> Names:
    rates = {"model": unique("model"), "input_usd": "1", "output_usd": "2"}
    return {"price_id": (await people.admin.post("/prices", rates))["id"]}


async def _with_call(api: Api, people: People, names: Names, queue: str) -> Names:
    request_id = unique("gw")
    project_id = uuid.UUID(names["project_id"])
    async with api.database.transaction() as tx:
        row = TokenUsage(
            request_id=request_id, project_id=project_id, model="m", usage_date=tx.now.date()
        )
        tx.add(row)
    tape = Tape()
    tape.take(b"{}")
    await BodyKeeper(api.database, 1).keep(request_id, project_id, "", b"{}", tape)
    return {"request_id": request_id}


_MORE: dict[frozenset[str], Callable[[Api, People, Names, str], Awaitable[Names]]] = {
    frozenset(
        {
            "order_id",
            "execution_id",
            "worker_id",
            "modification_id",
            "question_id",
            "chat_file_id",
        }
    ): _with_run,
    frozenset({"rule_id"}): _with_rule,
    frozenset({"budget_id"}): _with_budget,
    frozenset({"agent_id"}): _with_agent,
    frozenset({"plan_id", "chat_id", "proposal_id"}): _with_plan,
    frozenset({"run_id"}): _with_team_run,
    frozenset({"document_id", "document_rule_id"}): _with_document,
    frozenset({"context_id"}): _with_context,
    frozenset({"message_id", "attachment_id"}): _with_message,
    frozenset({"template_id"}): _with_template,
    frozenset({"provider_id", "credential_id"}): _with_provider,
    frozenset({"price_id"}): _with_price,
    frozenset({"request_id"}): _with_call,
    frozenset({"token_id"}): _with_token,
    frozenset({"enrolment_id"}): _with_invitation,
    frozenset({"notification_id"}): _with_notification,
}
"""What a scene may have besides, by the names it gives."""


async def _add_provider(owner: Caller, project_id: str) -> dict[str, Any]:
    """A provider with a key that is switched off, so that nobody asks Anthropic with it."""
    provider = await owner.post(
        "/model-providers",
        {
            "name": unique("provider"),
            "kind": "anthropic",
            "project_id": project_id,
            "models": [unique("model")],
            "key": unique("key"),
        },
    )
    key = f"/provider-credentials/{provider['credentials'][0]['id']}"
    await owner.call("PATCH", key, json={"is_active": False})
    return provider


async def _run(api: Api, worker: Caller, queue: str) -> dict[str, str]:
    """Let a worker take the queue's one order, and report a change."""
    session = str(new_id())
    me = await worker.post(
        "/workers/register",
        {
            "name": unique("worker"),
            "session_id": session,
            "runtimes": ["command"],
            "queues": [queue],
        },
    )
    who = {"worker_id": me["worker_id"], "session_id": session}
    claimed = await worker.post("/queue/claim", who | {"claim_token": unique("claim" * 4)})
    order = claimed["orders"][0]
    claim = (order["order_id"], order["fence"])
    await worker.post(f"/executions/{order['execution_id']}/logs", log_body(order, "an example"))
    call = {"request_id": "1", "model": "gpt-5", "tokens_in": 1000, "tokens_out": 100}
    await worker.post(
        f"/executions/{order['execution_id']}/usage",
        {"order_id": claim[0], "fence": claim[1], "calls": [call]},
    )
    asked = await worker.post(
        f"/executions/{order['execution_id']}/questions",
        {"order_id": claim[0], "fence": claim[1], "key": "1", "text": "Tabs or blanks?"},
    )
    digest = hashlib.sha256(_BUNDLE).hexdigest()
    stored = await worker.call(
        "PUT",
        f"/executions/{order['execution_id']}/bundle",
        params={"order_id": claim[0], "fence": claim[1], "sha256": digest},
        content=_BUNDLE,
    )
    assert stored.is_success, stored.text
    change = {
        "base_commit": "1" * 40,
        "head_commit": "2" * 40,
        "branch_name": "agentvine/t-1",
        "target_branch": "main",
        "files": [{"path": "a.txt", "kind": "added", "added_lines": 1}],
        "diff": "+a\n",
        "bundle_sha256": digest,
    }
    await worker.post(
        "/queue/complete",
        {"order_id": claim[0], "fence": claim[1], "report": {"exit_code": 0, "change": change}},
    )
    return {
        "worker_id": me["worker_id"],
        "order_id": order["order_id"],
        "execution_id": order["execution_id"],
        "question_id": asked["id"],
    }
