"""Plans for tests, as clients send them."""

from dataclasses import dataclass
from typing import Any

from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_project, make_repository

Json = dict[str, Any]


def feature(**content: Any) -> Json:
    """A feature plan."""
    return {"artifact_type": "feature_plan", "content": {"goal": "Grow.", **content}}


def step(key: str, **fields: Any) -> Json:
    """One step."""
    return {"key": key, "title": f"Do {key}", **fields}


def steps(*items: Json) -> Json:
    """Steps in their order."""
    return {"artifact_type": "implementation_steps", "content": {"steps": list(items)}}


def changes(*items: Json, message: str | None = None) -> Json:
    """Code changes."""
    content: Json = {"changes": list(items)}
    return {
        "artifact_type": "code_changes",
        "content": content | ({"message": message} if message else {}),
    }


@dataclass(frozen=True)
class Desk:
    """Somebody with a repository to plan for."""

    api: Api
    owner: Caller
    project_id: str
    repository_id: str

    async def plan(self, *artifacts: Json, **fields: Any) -> Json:
        """A new plan of this repository."""
        body = {"repository_id": self.repository_id, "name": unique("plan"), **fields}
        made: Json = await self.owner.post("/plans", body | {"artifacts": list(artifacts)})
        return made


async def make_desk(api: Api, *, path: str | None = None) -> Desk:
    """A new person with a project and a repository; there is git behind it where it has a path."""
    owner = await api.person(unique("planner"))
    async with api.database.transaction(owner.actor) as tx:
        project = await make_project(tx, owner.actor)
        repository = await make_repository(tx, owner.actor, project, path=path)
    return Desk(api, owner, str(project.id), str(repository.id))
