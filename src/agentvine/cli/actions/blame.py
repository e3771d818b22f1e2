"""What ``agentvine blame`` does."""

from pathlib import Path

from agentvine.cli import resolve
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.projects import RepositoryOut
from agentvine.protocol.tracing import LineOriginOut


class LineUnclear(Invalid):
    """It does not say which line is meant."""

    code = "line_unclear"


async def blame(
    session: Session, *, place: str, repo: str | None, branch: str | None, project: str | None
) -> None:
    """The way back from a line."""
    file, _, number = place.rpartition(":")
    if not file or not number.isdecimal() or int(number) < 1:
        raise LineUnclear(f"{place!r} is not FILE:LINE, like src/app.py:12.")
    if repo is not None:
        repository = await resolve.find_repository(session, repo, project)
    else:
        repository = await resolve.repository_around(session, _folder_of(file))
    path = _path_in(repository, file)
    row = await session.client.repositories.blame(repository.id, path, int(number), branch=branch)
    session.out.record(row, _shown(row))


def _folder_of(file: str) -> Path:
    return Path(file).resolve().parent


def _path_in(repository: RepositoryOut, file: str) -> str:
    """A file as the repository calls it; one that is not below its folder is left as it is."""
    try:
        return Path(file).resolve().relative_to(repository.path).as_posix()
    except ValueError:
        return Path(file).as_posix()


def _shown(row: LineOriginOut) -> list[tuple[str, object]]:
    commit, change, run, task = row.commit, row.modification, row.execution, row.task
    then = f"{commit.path}:{commit.line}"
    return [
        ("line", row.text),
        ("commit", f"{commit.id[:12]} {commit.subject}"),
        ("by", commit.author),
        ("written", commit.authored_at),
        ("as", then if then != f"{row.path}:{row.line}" else None),
        ("came by", row.merge_commit),
        ("change", change and f"{change.id} ({change.status.value})"),
        ("asked by", change and change.requested_by),
        ("run", run and f"{run.id}, attempt {run.attempt} ({run.status.value})"),
        ("runtime", run and " ".join(filter(None, (run.runtime, run.model)))),
        ("task", task and f"{task.ref} {task.title} ({task.status.value})"),
        ("plan", row.plan and _plan(row)),
        ("agent", row.agent and f"{row.agent.name} ({row.agent.type}), {row.agent.revision}"),
        ("used", row.usage and _used(row)),
        ("is told", row.system_prompt),
        ("asked to", row.prompt),
        ("names", None if task else "\n".join(f"{k}: {v}" for k, v in row.trailers.items())),
        ("note", "\n".join(row.notes)),
    ]


def _plan(row: LineOriginOut) -> str:
    assert row.plan is not None
    step = f", step {row.plan.step}" if row.plan.step else ""
    return f"{row.plan.name}, version {row.plan.version}{step}"


def _used(row: LineOriginOut) -> str:
    assert row.usage is not None
    used = row.usage
    return (
        f"{used.tokens_in} tokens in, {used.tokens_out} out, ${used.cost_usd} ({used.calls} calls)"
    )
