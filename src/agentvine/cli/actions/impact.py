"""What ``agentvine modification request`` and ``impact`` do."""

from typing import Any

from agentvine.cli import resolve
from agentvine.cli.actions.tasks import agent_id, run_of
from agentvine.cli.session import Session
from agentvine.protocol.impact import ModificationImpactOut, Reach
from agentvine.protocol.modifications import ModificationRequestIn
from agentvine.protocol.tasks import TaskRun

_SHOWN = 10


async def request(
    session: Session,
    *,
    words: str,
    repo: str,
    project: str | None,
    key: str | None,
    **values: Any,
) -> None:
    """A change that is asked for in words."""
    repository = await resolve.find_repository(session, repo, project)
    given: dict[str, Any] = {
        "title": values.get("title"),
        "type": values.get("type"),
        "permission": values.get("permission"),
        "priority": values.get("priority"),
        "target_branch": values.get("target"),
        "definition_of_done": values.get("done"),
        "budget_usd": values.get("budget"),
        "agent_id": await agent_id(session, values, project),
    }
    body = ModificationRequestIn(
        request=words,
        repository_id=repository.id,
        run=run_of(TaskRun(), values),
        **{name: value for name, value in given.items() if value is not None},
    )
    row = await session.client.modifications.request(body, key=key)
    if session.out.as_json:
        session.out.data(row)
        return
    _show(session, await session.client.modifications.impact(row.id))
    session.out.note(f"Nothing runs yet: `agentvine modification approve {row.id}`.")


async def impact(session: Session, *, name: str, project: str | None) -> None:
    """Foreseen and real, side by side."""
    found = await resolve.find_modification(session, name, project)
    _show(session, await session.client.modifications.impact(found.id))


def _show(session: Session, row: ModificationImpactOut) -> None:
    fields: list[tuple[str, object]] = [("change", row.modification_id), ("for", row.request)]
    if row.foreseen is not None:
        likely = [f"{file.path} ({'; '.join(file.reasons)})" for file in row.foreseen.files]
        fields += [("foreseen at", row.foreseen.commit[:12]), ("likely", _lines(likely))]
        fields += [*_reach("", row.foreseen.reach), ("note", "\n".join(row.foreseen.notes))]
    if row.real is not None:
        fields.append(("changed", _lines(row.real.files)))
        fields += _reach("real ", row.real.reach) if row.real.reach else []
        fields.append(("note", "\n".join(row.real.notes)))
    if row.comparison is not None:
        fields += [
            ("hit", _lines(row.comparison.hit)),
            ("missed", _lines(row.comparison.missed)),
            ("surprise", _lines(row.comparison.surprise)),
        ]
    session.out.record(row, fields)


def _reach(whose: str, reach: Reach) -> list[tuple[str, object]]:
    users = [f"{level.count} over {level.depth} imports" for level in reach.dependants]
    return [
        (f"{whose}risk", "\n".join([reach.risk.level.value, *reach.risk.reasons])),
        (f"{whose}users", ", ".join(users)),
        (f"{whose}tests", _lines(reach.tests)),
        (f"{whose}interfaces", _lines(reach.interfaces)),
        (f"{whose}migrations", _lines(reach.migrations)),
    ]


def _lines(items: list[str]) -> str:
    more = [f"and {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return "\n".join([*items[:_SHOWN], *more])
