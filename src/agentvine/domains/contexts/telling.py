"""Snapshots as they are told: masked, in pages, and compared."""

from collections.abc import Mapping
from typing import Any

from agentvine.domains.contexts.reading.shapes import sequence, table
from agentvine.domains.projects.models import ProjectContext
from agentvine.kit.pagination import (
    CursorInvalid,
    Page,
    PageRequest,
    encode_cursor,
)
from agentvine.protocol.contexts import (
    ContextComparisonOut,
    ContextFileOut,
    ContextOut,
    ContextSummaryOut,
    DependencyChangeOut,
    DependencyOut,
    FileChangeOut,
    MetricChangeOut,
    MetricsOut,
    VariableOut,
)

_MAX_CHANGED_FILES = 2000


def summary_out(context: ProjectContext) -> ContextSummaryOut:
    """A snapshot without its lists."""
    return ContextSummaryOut.model_validate(context)


def context_out(context: ProjectContext) -> ContextOut:
    """A snapshot with all but its files; values of variables stay sealed."""
    return ContextOut(
        **summary_out(context).model_dump(),
        dependencies=[_dependency(line) for line in context.dependencies],
        environment=[VariableOut(name=name) for name in sorted(context.environment_vars)],
        deployment=context.deployment_config,
        notes=context.notes,
    )


def list_files(context: ProjectContext, page: PageRequest, *, under: str) -> Page[ContextFileOut]:
    """A page of its files by path, those whose paths begin so.

    Raises:
        CursorInvalid: The cursor belongs to another list.
    """
    listed = f"files of {context.id}"
    if page.after is not None and page.after.listed != listed:
        raise CursorInvalid("The cursor belongs to another list.")
    after = page.after.key if page.after is not None else ""
    paths = sorted(path for path in context.codebase if path > after and path.startswith(under))
    shown = paths[: page.limit]
    items = [file_out(path, context.codebase[path]) for path in shown]
    return Page(items, encode_cursor(listed, shown[-1]) if len(paths) > page.limit else None)


def file_out(path: str, facts: Any) -> ContextFileOut:
    """A file's row; raw SQL may have put anything there."""
    known = {"kind": "file", "hash": "", "bytes": 0} | table(facts)
    return ContextFileOut(
        path=path,
        kind=str(known["kind"]),
        hash=str(known["hash"]),
        bytes=int(known["bytes"]),
        requires=sequence(known.get("requires")) or None,
    )


def compare(before: ProjectContext, after: ProjectContext) -> ContextComparisonOut:
    """What differs from one snapshot to another."""
    files = _changed_files(before.codebase, after.codebase)
    old_names, new_names = set(before.environment_vars), set(after.environment_vars)
    old_parts, new_parts = _deployed(before), _deployed(after)
    return ContextComparisonOut(
        before=summary_out(before),
        after=summary_out(after),
        files=files[:_MAX_CHANGED_FILES],
        files_left_out=max(0, len(files) - _MAX_CHANGED_FILES),
        dependencies=_changed_dependencies(before.dependencies, after.dependencies),
        variables_added=sorted(new_names - old_names),
        variables_removed=sorted(old_names - new_names),
        variables_changed=_changed_variables(before.environment_vars, after.environment_vars),
        deployment_added=sorted(new_parts - old_parts),
        deployment_removed=sorted(old_parts - new_parts),
        metrics=[
            MetricChangeOut(metric=name, before=getattr(before, name), after=getattr(after, name))
            for name in MetricsOut.model_fields
            if getattr(before, name) != getattr(after, name)
        ],
    )


def _changed_files(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[FileChangeOut]:
    changes: list[FileChangeOut] = []
    for path in sorted({*old, *new}):
        if old.get(path) == new.get(path):
            continue
        was = file_out(path, old[path]) if path in old else None
        now = file_out(path, new[path]) if path in new else None
        if was is not None and now is not None:
            if (was.hash, was.kind) == (now.hash, now.kind):
                continue
            change = "changed"
        else:
            change = "added" if was is None else "removed"
        changes.append(
            FileChangeOut(
                path=path,
                change=change,
                bytes_before=was.bytes if was else None,
                bytes_after=now.bytes if now else None,
            )
        )
    return changes


def _changed_dependencies(old: list[str], new: list[str]) -> list[DependencyChangeOut]:
    was, now = _by_name(old), _by_name(new)
    return [
        DependencyChangeOut(
            ecosystem=ecosystem,
            name=name,
            before=was.get((ecosystem, name)),
            after=now.get((ecosystem, name)),
        )
        for ecosystem, name in sorted({*was, *now})
        if was.get((ecosystem, name)) != now.get((ecosystem, name))
    ]


def _by_name(lines: list[str]) -> dict[tuple[str, str], str]:
    # One package may be asked for by several manifests, each in its way.
    found: dict[tuple[str, str], list[str]] = {}
    for each in map(_dependency, lines):
        found.setdefault((each.ecosystem, each.name), []).append(each.requirement)
    return {key: " | ".join(asked) for key, asked in found.items()}


def _dependency(line: str) -> DependencyOut:
    package, _, requirement = line.partition(" ")
    ecosystem, _, name = package.rpartition(":") if package.count(":") == 1 else ("", "", package)
    return DependencyOut(ecosystem=ecosystem, name=name, requirement=requirement)


def _changed_variables(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    both = set(old) & set(new)
    return sorted(name for name in both if _fingerprint(old[name]) != _fingerprint(new[name]))


def _fingerprint(sealed: Any) -> Any:
    return table(sealed).get("fingerprint", sealed)


def _deployed(context: ProjectContext) -> set[str]:
    listed = context.deployment_config.values()
    return {str(table(each).get("path")) for part in listed for each in sequence(part)}
