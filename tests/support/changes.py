"""Changes to real repositories, sent to the server as a worker sends them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.repositories import Repo, make_repo
from tests.support.space import Json, Space, WireWorker, make_space

Files = Mapping[str, str | bytes | None]


@dataclass
class Workshop:
    """A real repository in somebody's project, and a worker who changes it."""

    space: Space
    repo: Repo
    worker: WireWorker

    async def run(self, files: Files, **task: Any) -> tuple[Json, Json]:
        """Let a task's run change files, its tests passing; the task and its order."""
        made = await self.space.task(**task)
        order = await self.worker.claim_one()
        await self.report(order, files)
        return made, order

    async def change(self, files: Files, **task: Any) -> Json:
        """The change of such a run."""
        made, _ = await self.run(files, **task)
        (change,) = await self.space.changes(made)
        return change

    async def report(self, order: Json, files: Files, **report: Any) -> Json:
        """Make the change in a clone, send its commits, and report success."""
        change = await self.send(order, files)
        tests = {"command": "true", "exit_code": 0, "passed": True, "duration_seconds": 0.1}
        return await self.worker.complete(
            order, **{"exit_code": 0, "tests": tests, "change": change, **report}
        )

    async def send(self, order: Json, files: Files) -> Json:
        """Make the change in a clone and send its commits; what is to be reported of it."""
        clone, branch = self.clone(), order["payload"]["branch_name"]
        base = clone.head
        clone.git("switch", "-q", "-c", branch)
        head = clone.commit(files, f"Work on {branch}")
        bundle = clone.path / "change.bundle"
        clone.git("bundle", "create", "-q", bundle, branch, f"^{base}")
        stored = await self.worker.put_bundle(order, bundle.read_bytes())
        assert stored.is_success, stored.text
        return {
            "base_commit": base,
            "head_commit": head,
            "branch_name": branch,
            "target_branch": "main",
            "files": [{"path": name, "kind": "modified", "added_lines": 1} for name in files],
            "diff": clone.git("diff", base, head),
            "bundle_sha256": stored.json()["sha256"],
        }

    def clone(self) -> Repo:
        """A copy elsewhere, as a worker's: what is made there, the repository does not have."""
        path = self.repo.path.parent / unique("clone")
        self.repo.git("clone", "-q", self.repo.path, path)
        return Repo(path)

    async def decide(self, change: Json, action: str, body: Any = None) -> Json:
        """Approve, apply, reject or revert; it must succeed."""
        return await self.space.owner.post(f"/modifications/{change['id']}/{action}", body)

    async def refused(self, change: Json, action: str, body: Any = None) -> Json:
        """The same, and it must be refused."""
        path = f"/modifications/{change['id']}/{action}"
        return await self.space.owner.refused("POST", path, 409, json=body)

    async def get(self, change: Json) -> Json:
        """A change as it is now."""
        return await self.space.owner.get(f"/modifications/{change['id']}")

    def merges(self) -> list[str]:
        """The merges of ours on the target branch."""
        lines = self.repo.git("log", "--format=%H", "--grep=AgentVine-Modification", "main")
        return lines.split()


async def make_workshop(api: Api, folder: Path, files: Files | None = None) -> Workshop:
    """A repository of its own in a project of its own."""
    repo = make_repo(folder / unique("repository"), files)
    space = await make_space(api, path=str(repo.path))
    return Workshop(space, repo, await space.worker())
