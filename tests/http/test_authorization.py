"""Every route, asked by everybody who should not be let in, and by somebody who should."""

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import delete
from starlette.routing import Route

from agentvine.domains.work import limiting
from agentvine.domains.work.models import Limit
from agentvine.http.routes import endpoints_of
from agentvine.protocol.enums import LimitScope
from agentvine.protocol.limits import LimitTarget
from agentvine.server.app import API_PREFIX
from agentvine.web.routes import page_routes
from tests.support.api import Api, Caller, running_api
from tests.support.builders.identity import unique
from tests.support.per_file import own_database
from tests.support.repositories import make_repo
from tests.support.scene import People, Scene, make_people, make_scene

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC = "anybody may call it"
LIST = "a list of projects' rows: everybody sees their own"
ROW = "a project's row: for its members, and to be changed by those who may"
LOOK = "a project's row, looked at by a POST: for its members, whatever they may change"
ANYBODY = "for every person, whatever their projects; to be changed by those who may change at all"
OWN = "what is one's own: viewers, too, may change it"
MINE = "one person's row: nobody else, admins among them, hears that it is there"
ADMIN = "for admins"
WORK = "for workers"


@dataclass(frozen=True)
class Case:
    """What a route declares, whose rows it is about, and a request that is good."""

    permission: str
    kind: str
    body: Any = None
    query: dict[str, str] = field(default_factory=dict[str, str])


NOBODY = "00000000-0000-0000-0000-000000000000"
SESSION = {"worker_id": "{worker_id}", "session_id": NOBODY}
REPORT = {"order_id": "{order_id}", "fence": 99}

CASES = {
    "POST /auth/login": Case("public", PUBLIC, {"username": "nobody", "password": "x"}),
    "GET /auth/whoami": Case("self:read", ANYBODY),
    "GET /users": Case("users:read", ANYBODY),
    "POST /users": Case(
        "users:admin", ADMIN, {"username": "{unique}", "email": "{unique}@example.org"}
    ),
    "GET /users/{user_id}": Case("users:read", ANYBODY),
    "PATCH /users/{user_id}": Case("users:admin", ADMIN, {"full_name": "Some One"}),
    "POST /users/me/password": Case(
        "self:own", OWN, {"current_password": "not it", "new_password": "long enough?"}
    ),
    "GET /tokens": Case("tokens:read", ANYBODY),
    "POST /tokens": Case("tokens:own", OWN, {"name": "mine"}),
    "DELETE /tokens/{token_id}": Case("tokens:own", OWN),
    "GET /projects": Case("projects:read", LIST),
    "POST /projects": Case("projects:write", ANYBODY, {"name": "{unique}"}),
    "GET /projects/{project_id}": Case("projects:read", ROW),
    "PATCH /projects/{project_id}": Case("projects:write", ROW, {"description": "new"}),
    "DELETE /projects/{project_id}": Case("projects:write", ROW),
    "GET /projects/{project_id}/members": Case("projects:read", ROW),
    "PUT /projects/{project_id}/members": Case(
        "projects:write", ROW, {"username": "{username}", "role": "viewer"}
    ),
    "DELETE /projects/{project_id}/members/{username}": Case("projects:write", ROW),
    "GET /repositories": Case("projects:read", LIST),
    "POST /repositories": Case(
        "projects:write", ROW, {"location": "{new_repository}", "project_id": "{project_id}"}
    ),
    "GET /repositories/{repository_id}": Case("projects:read", ROW),
    "GET /repositories/{repository_id}/conflicts": Case("modifications:read", ROW),
    "PATCH /repositories/{repository_id}": Case("projects:write", ROW, {"name": "other"}),
    "DELETE /repositories/{repository_id}": Case("projects:write", ROW),
    "GET /repositories/{repository_id}/blame": Case(
        "modifications:read", ROW, query={"path": "src/app.py", "line": "1"}
    ),
    "GET /tasks": Case("tasks:read", LIST),
    "POST /tasks": Case(
        "tasks:write", ROW, {"title": "t", "project_id": "{project_id}", "start": False}
    ),
    "GET /tasks/{task_id}": Case("tasks:read", ROW),
    "PATCH /tasks/{task_id}": Case("tasks:write", ROW, {"title": "another"}),
    "DELETE /tasks/{task_id}": Case("tasks:write", ROW),
    "POST /tasks/{task_id}/start": Case("tasks:write", ROW),
    "POST /tasks/{task_id}/retry": Case("tasks:write", ROW),
    "POST /tasks/{task_id}/cancel": Case("tasks:write", ROW),
    "GET /tasks/{task_id}/dependencies": Case("tasks:read", ROW),
    "POST /tasks/{task_id}/dependencies": Case(
        "tasks:write", ROW, {"depends_on": "{third_id}", "type": "related"}
    ),
    "DELETE /tasks/{task_id}/dependencies/{depends_on}": Case("tasks:write", ROW),
    "GET /queue/status": Case("queue:read", LIST),
    "POST /queue/enqueue": Case("queue:write", ROW, {"task_id": "{task_id}"}),
    "GET /queue/orders": Case("queue:read", LIST),
    "GET /queue/orders/{order_id}": Case("queue:read", ROW),
    "POST /queue/enqueue-many": Case("queue:write", ANYBODY, {"items": [{"task_id": NOBODY}]}),
    "GET /queue/dead": Case("queue:read", ANYBODY),
    "POST /queue/dead/retry": Case("queue:write", ANYBODY, {}),
    "GET /queue/orders/{order_id}/why": Case("queue:read", ROW),
    "POST /queue/orders/{order_id}/pause": Case("tasks:write", ROW),
    "POST /queue/orders/{order_id}/resume": Case("tasks:write", ROW),
    "GET /queue/orders/{order_id}/messages": Case("queue:read", ROW),
    "POST /queue/orders/{order_id}/messages": Case("tasks:write", ROW, {"text": "look again"}),
    "POST /queue/orders/{order_id}/attachments": Case("tasks:write", ROW, query={"name": "a.txt"}),
    "GET /tasks/{task_id}/why": Case("queue:read", ROW),
    "GET /queue/limits": Case("queue:read", ANYBODY),
    "PUT /queue/limits": Case(
        "queue:admin", ADMIN, {"scope": "queue", "key": "{unique}", "capacity": 3}
    ),
    "DELETE /queue/limits": Case(
        "queue:admin", ADMIN, query={"scope": "project", "key": "{project_id}"}
    ),
    "POST /queue/pause": Case("queue:admin", ADMIN, {"scope": "queue", "key": "{unique}"}),
    "POST /queue/resume": Case("queue:admin", ADMIN, {"scope": "project", "key": "{project_id}"}),
    "POST /queue/stop": Case("queue:admin", ADMIN, {"reason": "a drill"}),
    "POST /projects/{project_id}/pause": Case("queue:write", ROW, {"reason": "a freeze"}),
    "POST /projects/{project_id}/resume": Case("queue:write", ROW, {}),
    "GET /workers": Case("workers:read", ANYBODY),
    "GET /workers/{worker_id}": Case("workers:read", ANYBODY),
    "POST /workers/enrol": Case(
        "public",
        PUBLIC,
        {
            "token": "ave_abcdefgh_nonsense",
            "worker_name": "w",
            "key_prefix": "avw_abcdefgh",
            "key_hash": "0" * 64,
        },
    ),
    "GET /workers/invitations": Case("workers:admin", ADMIN),
    "POST /workers/invitations": Case("workers:admin", ADMIN, {"name": "w"}),
    "DELETE /workers/invitations/{enrolment_id}": Case("workers:admin", ADMIN),
    "POST /workers/{worker_id}/revoke": Case("workers:admin", ADMIN),
    "POST /workers/{worker_id}/drain": Case("workers:admin", ADMIN),
    "DELETE /workers/{worker_id}": Case("workers:admin", ADMIN),
    "GET /executions": Case("executions:read", LIST),
    "GET /executions/{execution_id}": Case("executions:read", ROW),
    "GET /tasks/{task_id}/attempts": Case("executions:read", ROW),
    "GET /executions/{execution_id}/figures": Case("executions:read", ROW),
    "GET /executions/{execution_id}/timeline": Case("executions:read", ROW),
    "GET /executions/{execution_id}/logs": Case("executions:read", ROW),
    "GET /executions/{execution_id}/logs/stream": Case("executions:read", ROW),
    "GET /executions/{execution_id}/logs/search": Case("executions:read", ROW, query={"text": "x"}),
    "GET /logs/search": Case("executions:read", LIST, query={"text": "x"}),
    "GET /executions/{execution_id}/bundle": Case("executions:read", ROW),
    "GET /modifications": Case("modifications:read", LIST),
    "POST /modifications": Case(
        "modifications:write",
        ROW,
        {
            "request": "Add z to the app",
            "repository_id": "{repository_id}",
            "run": {"command": "true"},
        },
    ),
    "GET /modifications/{modification_id}/impact": Case("modifications:read", ROW),
    "GET /modifications/{modification_id}": Case("modifications:read", ROW),
    "POST /modifications/{modification_id}/approve": Case(
        "modifications:write", ROW, {"apply": False}
    ),
    "POST /modifications/{modification_id}/apply": Case("modifications:write", ROW),
    "POST /modifications/{modification_id}/reject": Case("modifications:write", ROW),
    "POST /modifications/{modification_id}/revert": Case("modifications:write", ROW),
    "GET /budgets": Case("budgets:read", LIST),
    "POST /budgets": Case(
        "budgets:write",
        ROW,
        {
            "name": "{unique}",
            "scope": "project",
            "project_id": "{project_id}",
            "amount_usd": "20.00",
        },
    ),
    "GET /budgets/{budget_id}": Case("budgets:read", ROW),
    "PATCH /budgets/{budget_id}": Case("budgets:write", ROW, {"amount_usd": "30.00"}),
    "DELETE /budgets/{budget_id}": Case("budgets:write", ROW),
    "GET /plans": Case("plans:read", LIST),
    "POST /plans": Case(
        "plans:write", ROW, {"name": "{unique}", "repository_id": "{repository_id}"}
    ),
    "POST /plans/search": Case("plans:read", LIST, {"contains": {"goal": "Grow."}}),
    "GET /plans/{plan_id}": Case("plans:read", ROW),
    "PATCH /plans/{plan_id}": Case("plans:write", ROW, {"description": "new"}),
    "DELETE /plans/{plan_id}": Case("plans:write", ROW),
    "GET /plans/{plan_id}/versions": Case("plans:read", ROW),
    "POST /plans/{plan_id}/revise": Case("plans:write", ROW),
    "POST /plans/{plan_id}/activate": Case("plans:write", ROW),
    "POST /plans/{plan_id}/complete": Case("plans:write", ROW),
    "POST /plans/{plan_id}/archive": Case("plans:write", ROW),
    "GET /plans/{plan_id}/artifacts": Case("plans:read", ROW),
    "POST /plans/{plan_id}/artifacts": Case(
        "plans:write", ROW, {"artifact_type": "feature_plan", "content": {"goal": "Grow more."}}
    ),
    "GET /plans/{plan_id}/diff/{other_id}": Case("plans:read", ROW),
    "GET /plans/{plan_id}/chat": Case("plans:read", ROW),
    "POST /plans/{plan_id}/chat": Case("plans:write", ROW),
    "GET /plans/{plan_id}/chat/{chat_id}": Case("plans:read", ROW),
    "GET /plans/{plan_id}/chat/{chat_id}/stream": Case("plans:read", ROW),
    "POST /plans/{plan_id}/chat/{chat_id}/messages": Case(
        "plans:write", ROW, {"text": "What is missing?"}
    ),
    "POST /plans/{plan_id}/chat/{chat_id}/again": Case("plans:write", ROW),
    "POST /plans/{plan_id}/chat/{chat_id}/proposals/{proposal_id}/accept": Case("plans:write", ROW),
    "POST /plans/{plan_id}/chat/{chat_id}/complete": Case("plans:write", ROW),
    "GET /plans/{plan_id}/preview": Case("plans:read", ROW),
    "POST /plans/{plan_id}/accept": Case("tasks:write", ROW, {"start": False}),
    "POST /plans/{plan_id}/reconcile": Case("tasks:write", ROW, {"start": False}),
    "POST /plans/{plan_id}/apply": Case("modifications:write", ROW, {}),
    "GET /team-runs": Case("tasks:read", LIST),
    "POST /team-runs": Case(
        "tasks:write",
        ROW,
        {
            "goal": "Grow.",
            "repository_id": "{repository_id}",
            "coder": {"run": {"command": "true"}},
            "tester": {"run": {"command": "true"}},
        },
    ),
    "GET /team-runs/{run_id}": Case("tasks:read", ROW),
    "POST /team-runs/{run_id}/approve": Case("tasks:write", ROW, {"budget_usd": "5"}),
    "POST /team-runs/{run_id}/cancel": Case("tasks:write", ROW, {}),
    "GET /agents": Case("agents:read", LIST),
    "POST /agents": Case(
        "agents:write", ROW, {"name": "{unique}", "type": "coder", "project_id": "{project_id}"}
    ),
    "GET /agents/{agent_id}": Case("agents:read", ROW),
    "PATCH /agents/{agent_id}": Case("agents:write", ROW, {"system_prompt": "Be brief."}),
    "DELETE /agents/{agent_id}": Case("agents:write", ROW),
    "GET /agents/{agent_id}/revisions": Case("agents:read", ROW),
    "POST /agents/{agent_id}/restore": Case("agents:write", ROW, {"revision": 1}),
    "PUT /agents/{agent_id}/memories": Case(
        "agents:write", ROW, {"category": "fact", "key": "k", "value": "v"}
    ),
    "GET /agents/{agent_id}/memories": Case("agents:read", ROW),
    "GET /agents/{agent_id}/memories/recall": Case("agents:read", ROW, query={"query": "x"}),
    "DELETE /agents/{agent_id}/memories": Case("agents:write", ROW, query={"category": "fact"}),
    "GET /contexts": Case("projects:read", LIST, query={"path": "a.txt"}),
    "POST /contexts": Case("projects:write", ROW, {"repository_id": "{repository_id}"}),
    "GET /contexts/{context_id}": Case("projects:read", ROW),
    "GET /contexts/{context_id}/files": Case("projects:read", ROW),
    "GET /contexts/{context_id}/content": Case("projects:read", ROW, query={"path": "a.txt"}),
    "GET /contexts/{context_id}/compare": Case("projects:read", ROW, query={"to": "{context_id}"}),
    "POST /contexts/{context_id}/archive": Case("projects:write", ROW),
    "POST /contexts/{context_id}/activate": Case("projects:write", ROW),
    "DELETE /contexts/{context_id}": Case("projects:write", ROW),
    "PUT /contexts/{context_id}/environment/{name}": Case(
        "projects:write", ROW, {"value": "hidden"}
    ),
    "DELETE /contexts/{context_id}/environment/{name}": Case("projects:write", ROW),
    "GET /templates": Case("templates:read", LIST, query={"word": "t-"}),
    "POST /templates": Case(
        "templates:write",
        ROW,
        {
            "name": "t-{unique}",
            "category": "api",
            "files": {"a": "b"},
            "project_id": "{project_id}",
        },
    ),
    "GET /templates/{template_id}": Case("templates:read", ROW),
    "PUT /templates/{template_id}": Case(
        "templates:write", ROW, {"name": "t-{unique}", "category": "web", "files": {"a": "c"}}
    ),
    "DELETE /templates/{template_id}": Case("templates:write", ROW),
    "POST /templates/{template_id}/render": Case("templates:read", LOOK, {"values": {}}),
    "GET /documents": Case("knowledge:read", LIST),
    "GET /documents/search": Case("knowledge:read", LIST, query={"query": "needle"}),
    "POST /documents": Case(
        "knowledge:write",
        ROW,
        {"title": "t", "content": "c", "document_type": "guide", "project_id": "{project_id}"},
    ),
    "POST /documents/import": Case(
        "knowledge:write",
        ROW,
        {
            "project_id": "{project_id}",
            "files": [{"path": "a.md", "title": "t", "content": "c", "document_type": "guide"}],
        },
    ),
    "GET /documents/{document_id}": Case("knowledge:read", ROW),
    "PATCH /documents/{document_id}": Case("knowledge:write", ROW, {"title": "another"}),
    "DELETE /documents/{document_id}": Case("knowledge:write", ROW),
    "GET /documents/{document_id}/versions": Case("knowledge:read", ROW),
    "GET /documents/{document_id}/versions/{version}": Case("knowledge:read", ROW),
    "GET /documents/{document_id}/compare": Case("knowledge:read", ROW, query={"old": "1"}),
    "POST /documents/{document_id}/restore": Case("knowledge:write", ROW, {"version": 1}),
    "GET /projects/{project_id}/document-rules": Case("knowledge:read", ROW),
    "POST /projects/{project_id}/document-rules": Case("knowledge:write", ROW, {"tag": "style"}),
    "DELETE /document-rules/{document_rule_id}": Case("knowledge:write", ROW),
    "GET /model-providers": Case("models:read", LIST),
    "POST /model-providers": Case(
        "models:write",
        ROW,
        {"name": "{unique}", "kind": "anthropic", "project_id": "{project_id}"},
    ),
    "GET /model-providers/{provider_id}": Case("models:read", ROW),
    "PATCH /model-providers/{provider_id}": Case("models:write", ROW, {"is_free": True}),
    "DELETE /model-providers/{provider_id}": Case("models:write", ROW),
    "POST /model-providers/{provider_id}/test": Case("models:write", ROW, {}),
    "POST /model-providers/{provider_id}/credentials": Case(
        "models:write", ROW, {"name": "second", "key": "{unique}"}
    ),
    "PATCH /provider-credentials/{credential_id}": Case("models:write", ROW, {"is_active": False}),
    "DELETE /provider-credentials/{credential_id}": Case("models:write", ROW),
    "GET /models": Case("models:read", ROW, query={"project_id": "{project_id}"}),
    "GET /model-rules": Case("models:read", ROW, query={"project_id": "{project_id}"}),
    "PUT /model-rules": Case(
        "models:write", ROW, {"project_id": "{project_id}", "allowed": ["claude-*"]}
    ),
    "GET /questions": Case("questions:read", LIST),
    "GET /questions/stream": Case("questions:read", ANYBODY, query={"seconds": "0"}),
    "GET /questions/{question_id}": Case("questions:read", ROW),
    "POST /questions/{question_id}/answer": Case("questions:write", ROW, {"text": "Blanks."}),
    "POST /questions/{question_id}/attachments": Case(
        "questions:write", ROW, query={"name": "a.txt"}
    ),
    "GET /questions/{question_id}/attachments/{chat_file_id}": Case("questions:read", ROW),
    "GET /projects/{project_id}/answer-rules": Case("questions:read", ROW),
    "POST /projects/{project_id}/answer-rules": Case(
        "questions:write", ROW, {"effect": "allow", "tool": "Bash", "pattern": "git status"}
    ),
    "DELETE /answer-rules/{rule_id}": Case("questions:write", ROW),
    "GET /conversations": Case("conversations:read", LIST),
    "POST /conversations": Case("conversations:write", ROW, {"project_id": "{project_id}"}),
    "PATCH /conversations/{conversation_id}": Case(
        "conversations:write", ROW, {"title": "another"}
    ),
    "PUT /conversations/{conversation_id}/participants/{agent_id}": Case(
        "conversations:write", ROW
    ),
    "DELETE /conversations/{conversation_id}/participants/{agent_id}": Case(
        "conversations:write", ROW
    ),
    "GET /conversations/{conversation_id}/messages": Case("conversations:read", ROW),
    "POST /conversations/{conversation_id}/messages": Case(
        "conversations:write", ROW, {"content": "hello"}
    ),
    "PATCH /conversations/{conversation_id}/messages/{message_id}": Case(
        "conversations:write", ROW, {"content": "hello"}
    ),
    "DELETE /conversations/{conversation_id}/messages/{message_id}": Case(
        "conversations:write", ROW
    ),
    "POST /conversations/{conversation_id}/messages/{message_id}/attachments": Case(
        "conversations:write", ROW, query={"name": "a.txt"}
    ),
    "GET /conversations/{conversation_id}/messages/{message_id}/attachments/{attachment_id}": Case(
        "conversations:read", ROW
    ),
    "GET /conversations/{conversation_id}": Case("conversations:read", ROW),
    "GET /conversations/{conversation_id}/chat": Case("conversations:read", ROW),
    "GET /conversations/{conversation_id}/chat/attachments/{chat_file_id}": Case(
        "conversations:read", ROW
    ),
    "GET /notifications": Case("notifications:read", ANYBODY),
    "GET /notifications/unread": Case("notifications:read", ANYBODY),
    "POST /notifications/read": Case("notifications:own", OWN),
    "GET /notifications/preferences": Case("notifications:read", ANYBODY),
    "PATCH /notifications/preferences": Case("notifications:own", OWN, {"email": "all"}),
    "POST /notifications/telegram-code": Case("notifications:own", OWN),
    "POST /notifications/test": Case("notifications:own", OWN, {}),
    "GET /notifications/{notification_id}": Case("notifications:read", MINE),
    "POST /notifications/{notification_id}/read": Case("notifications:own", MINE),
    "GET /prices": Case("usage:read", ANYBODY),
    "POST /prices": Case(
        "models:admin", ADMIN, {"model": "{unique}", "input_usd": "1", "output_usd": "2.5"}
    ),
    "DELETE /prices/{price_id}": Case("models:admin", ADMIN),
    "GET /usage": Case("usage:read", ANYBODY),
    "GET /usage/calls": Case("usage:read", LIST),
    "GET /usage/calls/{request_id}/bodies": Case("usage:read", ROW),
    "POST /executions/{execution_id}/usage": Case(
        "work",
        WORK,
        REPORT | {"calls": [{"request_id": "1", "model": "m", "tokens_in": 1, "tokens_out": 1}]},
    ),
    "POST /executions/{execution_id}/model-access": Case("work", WORK, REPORT),
    "POST /executions/{execution_id}/tool-access": Case("work", WORK, REPORT),
    "POST /workers/register": Case("work", WORK, {"name": "{unique}", "session_id": NOBODY}),
    "POST /queue/claim": Case("work", WORK, SESSION | {"claim_token": "0123456789abcdef"}),
    "POST /queue/heartbeat": Case("work", WORK, SESSION),
    "POST /queue/listen": Case("work", WORK, SESSION),
    "POST /queue/control": Case("work", WORK, REPORT | {"is_paused": True}),
    "POST /queue/complete": Case("work", WORK, REPORT | {"report": {}}),
    "POST /queue/fail": Case(
        "work", WORK, REPORT | {"failure_class": "worker_error", "message": ""}
    ),
    "POST /queue/release": Case("work", WORK, REPORT),
    "POST /queue/report-many": Case("work", WORK, {"reports": [{"release": REPORT}]}),
    "POST /executions/{execution_id}/logs": Case(
        "work", WORK, REPORT | {"stream": "stdout", "first_seq": 1, "lines": []}
    ),
    "POST /executions/{execution_id}/brief": Case("work", WORK, REPORT),
    "POST /executions/{execution_id}/earlier-work": Case("work", WORK, REPORT),
    "PUT /executions/{execution_id}/session": Case("work", WORK, REPORT | {"session_id": "s"}),
    "POST /executions/{execution_id}/questions": Case(
        "work", WORK, REPORT | {"key": "1", "text": "Tabs or blanks?"}
    ),
    "GET /executions/{execution_id}/questions": Case(
        "work", WORK, query={"order_id": "{order_id}", "fence": "99"}
    ),
    "GET /executions/{execution_id}/questions/{question_id}": Case(
        "work", WORK, query={"order_id": "{order_id}", "fence": "99"}
    ),
    "POST /executions/{execution_id}/questions/{question_id}/withdraw": Case("work", WORK, REPORT),
    "GET /executions/{execution_id}/attachments/{chat_file_id}": Case(
        "work", WORK, query={"order_id": "{order_id}", "fence": "99"}
    ),
    "PUT /executions/{execution_id}/bundle": Case(
        "work", WORK, query={"order_id": "{order_id}", "fence": "99", "sha256": "0" * 64}
    ),
}
OUTSIDE_THE_API = {"GET /health": "public", "GET /ready": "public"}
NOT_OURS = {"/docs", "/docs/oauth2-redirect", "/openapi.json"}
"""What FastAPI adds to explain the API; it shows nobody's rows."""
TOOLS = {"/mcp"}
"""Each tool is asked by everybody in ``tests/mcp``."""
PAGES = {route.path for route in page_routes() if isinstance(route, Route)}
"""Each page is asked for by everybody in ``tests/web``."""


@dataclass(frozen=True)
class Stage:
    """A server with people and rows."""

    api: Api
    people: People
    scene: Scene
    """For requests that change nothing."""
    repository: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Stage]:
    """A server on one kind of database: who is let in is decided above it."""
    folder = tmp_path_factory.mktemp("stage")
    repository = make_repo(folder / "repositories" / "one").path
    roots = (folder / "repositories",)
    looked_into = str(make_repo(folder / "looked into").path)
    with own_database("sqlite", folder, request) as settings:
        async with running_api(settings, folder / "data", repository_roots=roots) as api:
            people = await make_people(api)
            scene = await make_scene(api, people, path=looked_into)
            yield Stage(api, people, scene, repository)


async def test_every_route_is_in_this_table_with_what_it_declares(stage: Stage):
    declared = {
        f"{endpoint.method} {endpoint.path.removeprefix(API_PREFIX)}": endpoint.permission
        for endpoint in endpoints_of(stage.api.app.routes)
    }
    others = {
        str(context.path)
        for context in iter_route_contexts(stage.api.app.routes)
        if not isinstance(context.original_route, APIRoute)
    }

    assert declared == {name: case.permission for name, case in CASES.items()} | OUTSIDE_THE_API
    assert others == NOT_OURS | TOOLS | PAGES


@dataclass(frozen=True)
class Request:
    """One good request, to be made by everybody."""

    method: str
    path: str
    options: dict[str, Any]

    @property
    def is_safe(self) -> bool:
        return self.method == "GET"

    async def by(self, caller: Caller, **headers: str) -> httpx2.Response:
        """The answer to one caller."""
        return await caller.call(self.method, self.path, headers=headers, **self.options)

    async def refused(self, caller: Caller, *statuses: int, **headers: str) -> str:
        """The code of the problem with which this caller is sent away."""
        response = await self.by(caller, **headers)
        assert response.status_code in statuses, f"{response.status_code}: {response.text}"
        assert response.headers["content-type"] == "application/problem+json"
        return response.json()["code"]

    async def let_in(self, caller: Caller) -> httpx2.Response:
        """The answer to a caller who may: a success, or a refusal by the row's own state."""
        response = await self.by(caller)
        assert response.is_success or response.status_code in {409, 422}, response.text
        assert response.is_success or not self.is_safe, response.text
        return response


@pytest_asyncio.fixture(loop_scope="module")
async def request_for(stage: Stage, name: str) -> Request:
    """The request of a line of the table, about rows that it may change."""
    method, path = name.split(" ")
    case = CASES[name]
    await go_on(stage.api)
    people = stage.people
    if name == REVOKES_A_WORKER:
        people = replace(people, worker=await stage.api.worker(unique("token")))
    wanted = set(re.findall(r"\{(\w+)\}", f"{path} {case.body} {case.query}"))
    scene = stage.scene if method == "GET" else await make_scene(stage.api, people, wanted)
    if name in WANT_A_LIMIT:
        await limit_and_pause(stage.api, scene.names["project_id"])
    scene.names["new_repository"] = str(stage.repository)
    path = path.replace("/diff/{other_id}", "/diff/{plan_id}")
    if "{depends_on}" in path:
        path = path.replace("{task_id}", "{other_id}").replace("{depends_on}", "{task_id}")
    options: dict[str, Any] = {"params": scene.fill(case.query)}
    if case.body is not None:
        options["json"] = scene.fill(case.body)
    return Request(method, scene.fill(path), options)


REVOKES_A_WORKER = "POST /workers/{worker_id}/revoke"
WANT_A_LIMIT = {
    "DELETE /queue/limits",
    "POST /queue/resume",
    "POST /projects/{project_id}/resume",
}


async def go_on(api: Api) -> None:
    """Let work begin again where the test before has stopped everything."""
    async with api.database.transaction() as tx:
        await tx.execute(delete(Limit).where(Limit.scope == LimitScope.FLEET))


async def limit_and_pause(api: Api, project_id: str) -> None:
    target = LimitTarget(scope=LimitScope.PROJECT, key=project_id)
    async with api.database.transaction() as tx:
        await limiting.set_limit(tx, target, 5)
        await limiting.pause(tx, target, "a freeze")


@pytest.mark.parametrize("name", CASES)
async def test_a_route_lets_in_whom_it_is_for_and_nobody_else(
    stage: Stage, name: str, request_for: Request
):
    people, kind = stage.people, CASES[name].kind
    if kind is PUBLIC:
        assert (await request_for.by(people.stranger)).status_code == 401  # a wrong password
        return

    await check_strangers(people, request_for)
    if kind is WORK:
        for person in (people.admin, people.owner, people.viewer):
            assert await request_for.refused(person, 403) == "scope_missing"
        answer = await request_for.by(people.worker)
        assert answer.status_code not in {401, 403}, answer.text
        return
    assert await request_for.refused(people.worker, 403) == "scope_missing"
    await CHECKS[kind](people, request_for)


async def check_strangers(people: People, request: Request) -> None:
    name = people.owner.actor.username
    password = base64.b64encode(f"{name}:whatever".encode()).decode()

    assert await request.refused(people.stranger, 401) == "unauthenticated"
    for header in (f"Basic {password}", "Bearer", "Bearer  ", "", "Token abc"):
        code = await request.refused(people.stranger, 401, Authorization=header)
        assert code == "unauthenticated", header
    code = await request.refused(people.stranger, 401, Authorization="Bearer avu_abcdefgh_nonsense")
    assert code == "token_invalid"


async def check_list(people: People, request: Request) -> None:
    nothing = await request.let_in(people.outsider)
    assert (nothing.json() if isinstance(nothing.json(), list) else nothing.json()["items"]) == []
    for member in (people.viewer, people.reader, people.owner, people.admin):
        answer = await request.let_in(member)
        if request.path != "/queue/status":  # its orders are done
            assert answer.json()["items"], member.actor


async def check_row(people: People, request: Request) -> None:
    await request.refused(people.outsider, 404)
    for member in (people.viewer, people.reader):
        if request.is_safe:
            await request.let_in(member)
        else:
            assert await request.refused(member, 403) in {"role_too_low", "project_read_only"}
    await request.let_in(people.owner)


async def check_look(people: People, request: Request) -> None:
    await request.refused(people.outsider, 404)
    for member in (people.viewer, people.reader, people.owner):
        assert (await request.let_in(member)).is_success


async def check_anybody(people: People, request: Request) -> None:
    for person in (people.owner, people.reader, people.admin):
        await request.let_in(person)
    if request.is_safe:
        await request.let_in(people.viewer)
        await request.let_in(people.outsider)
    else:
        assert await request.refused(people.viewer, 403) == "role_too_low"


async def check_own(people: People, request: Request) -> None:
    if "password" in request.path:
        for person in (people.owner, people.viewer):
            assert await request.refused(person, 401) == "credentials_wrong"
    elif request.method == "DELETE":
        await request.refused(people.outsider, 404)
        await request.refused(people.viewer, 404)
        await request.let_in(people.owner)
    else:
        for person in (people.outsider, people.owner, people.viewer):
            await request.let_in(person)


async def check_mine(people: People, request: Request) -> None:
    for person in (people.outsider, people.viewer, people.reader, people.admin):
        await request.refused(person, 404)
    assert (await request.let_in(people.owner)).is_success


async def check_admin(people: People, request: Request) -> None:
    for person in (people.outsider, people.owner, people.viewer):
        assert await request.refused(person, 403) == "role_too_low"
    await request.let_in(people.admin)


CHECKS = {
    LIST: check_list,
    ROW: check_row,
    LOOK: check_look,
    ANYBODY: check_anybody,
    OWN: check_own,
    MINE: check_mine,
    ADMIN: check_admin,
}
