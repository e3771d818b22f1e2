"""What a role that the server asks knows beforehand: the same as a run of a task of its agent.

The rules are read from the branch that everything is merged into in the end: on the team's own, a
coder could write what its reviewer has to find good.
"""

from pathlib import PurePosixPath

from agentvine.db.session import Database
from agentvine.domains.agents.models import Agent
from agentvine.domains.agents.recall import Asked, memory_text, recall_for_run
from agentvine.domains.knowledge.rules import ForTask, documents_for
from agentvine.domains.projects.desk import RepositoryDesk
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.enums import TaskType
from agentvine.domains.team.models import TeamRun
from agentvine.git.diffs import read_file
from agentvine.git.errors import FileNotInCommit
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("team")
_MAX_RULES = 32_000
"""Bytes, as many as agents of ours read of it in a work tree."""


async def read_rules(
    desk: RepositoryDesk, repository: Repository, run: TeamRun, agent: Agent | None
) -> str | None:
    """The rules file that an agent is set up with, as it is on the run's target branch.

    Raises:
        GitError: The repository cannot be read.
    """
    if agent is None or agent.rules_file_path is None:
        return None
    path = str(PurePosixPath(agent.rules_file_path))  # git knows no "./"
    async with desk.open(repository) as place:
        commit = await desk.resolve_branch(place, run.target_branch)
        try:
            content = await read_file(desk.git, place.path, commit, path, max_bytes=_MAX_RULES)
        except FileNotInCommit:
            return None  # as for a run, whose work tree does not have it either
    rules = content.decode("utf-8", "replace")
    return f"# The repository's rules ({PurePosixPath(path).name})\n\n{rules}"


async def recall_all(
    database: Database, run: TeamRun, agent: Agent | None, task_type: TaskType
) -> str | None:
    """The documents that rules give to such a task, and what the agent remembers of the goal."""
    about = ForTask(
        project_id=run.project_id,
        repository_id=run.repository_id,
        task_type=task_type,
        text=run.goal,
    )
    asked = Asked(text=run.goal, project_id=run.project_id)
    async with database.read() as read:
        documents = await documents_for(read, _ACTOR, about)
        memories = await recall_for_run(read, _ACTOR, agent, asked) if agent is not None else ()
    parts: list[str] = []
    if documents:
        told = "\n\n".join(
            f"### {each.document.title}\n\n{each.text}"
            f"{'' if each.is_whole else ' (Only a part: the whole has no room here.)'}"
            for each in documents
        )
        parts.append(f"## Documents of the project\n\n{told}")
    if memories:
        told = "\n".join(
            f"- {each.memory.category}/{each.memory.key}: {memory_text(each.memory)}"
            for each in memories
        )
        parts.append(f"## What you remember\n\n{told}")
    return "\n\n".join(parts) or None
