"""Taking a snapshot: git is asked first, strangers' files are read by a process with limits.

What is known already is not read again: contents go by git's hashes, so a snapshot of a repository
of which little has changed costs a listing and a few files.
"""

import json
import re
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import structlog
from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.contexts.errors import RepositoryWithoutProject
from agentvine.domains.contexts.models import ContextBlob
from agentvine.domains.contexts.reading import dependencies, deployment
from agentvine.domains.contexts.reading.shapes import table
from agentvine.domains.contexts.service import Snapshot, keep_blobs, keep_snapshot
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.desk import Place, RepositoryDesk
from agentvine.domains.projects.models import ProjectContext, Repository
from agentvine.git.trees import Entry, list_entries, read_blobs
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.process import capture
from agentvine.protocol.contexts import MAX_REPORT_CHARACTERS, ReportsIn

MAX_FILES = 20_000
_MAX_TEXT_BYTES = 256 * 1024
_MAX_NEW_BYTES = 64 * 1024 * 1024
"""Of contents that one snapshot adds; what comes after that is kept by its hash alone."""
_BATCH_BYTES = 4 * 1024 * 1024
_BATCH_FILES = 500
_ASKED_AT_ONCE = 5000
_MAX_MANIFESTS = 100
_READING_SECONDS = 120.0
_READING_CPU_SECONDS = 30
_REPORTS_FILE = ".agentvine/reports.json"
_USUAL_REPORTS = {
    "coverage": "coverage.xml",
    "bandit": "bandit.json",
    "pip_audit": "pip-audit.json",
}
_SECRETS = re.compile(
    r"\.env(?:\.(?!example$|sample$|template$|dist$).*)?|.*\.(?:pem|key|p12|pfx|jks|keystore)"
    r"|id_(?:rsa|dsa|ecdsa|ed25519)|\.netrc|\.npmrc|\.pypirc|\.htpasswd|credentials(?:\.json)?"
)
"""Names of files that hold secrets as a rule: their contents are not kept."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A snapshot as it is asked for."""

    name: str | None = None
    branch: str | None = None
    reports: ReportsIn = field(default_factory=ReportsIn)
    only_if_new: bool = False
    """Whether the current context is enough when it is of the same commit."""


@dataclass(frozen=True, slots=True)
class SnapshotTaker:
    """Takes snapshots of registered repositories."""

    database: Database
    desk: RepositoryDesk

    async def take(self, actor: Actor, repository: Repository, wanted: Wanted) -> ProjectContext:
        """The repository's state as its current context; nothing but rows is changed.

        Raises:
            GitError: The repository cannot be read, or has no such branch.
            RepositoryWithoutProject: Nobody could see the snapshot.
        """
        if repository.project_id is None:
            raise RepositoryWithoutProject("Register it in a project first.")
        branch = wanted.branch or repository.default_branch
        async with self.desk.open(repository) as place:
            commit = await self.desk.resolve_branch(place, branch)
            if wanted.only_if_new:
                current = await self._find_current(repository, branch, commit)
                if current is not None:
                    return current
            found = await self._look(place, repository.project_id, branch, commit, wanted.reports)
        async with self.database.transaction(actor) as tx:
            return await keep_snapshot(
                tx,
                repository,
                found,
                owner=str(actor.user_id) if isinstance(actor, UserActor) else None,
                name=wanted.name,
                only_if_new=wanted.only_if_new,
            )

    async def _find_current(
        self, repository: Repository, branch: str, commit: str
    ) -> ProjectContext | None:
        async with self.database.read() as read:
            current = await projects.get_current_context(read, repository)
        return current if (current.branch, current.commit_id) == (branch, commit) else None

    async def _look(
        self, place: Place, project_id: uuid.UUID, branch: str, commit: str, reports: ReportsIn
    ) -> Snapshot:
        listed = await list_entries(self.desk.git, place.path, commit)
        entries, notes = listed[:MAX_FILES], list[str]()
        if len(listed) > MAX_FILES:
            notes.append(f"{len(listed) - MAX_FILES} of {len(listed)} files were left out.")
        notes += await self._keep_contents(place, project_id, entries)
        facts = await self._read(place, entries, reports)
        asked = facts["dependencies"]
        return Snapshot(
            branch=branch,
            commit_id=commit,
            codebase={entry.path: _file_facts(entry, asked) for entry in entries},
            total_bytes=sum(entry.size for entry in entries),
            dependencies=_lines(asked),
            deployment=facts["deployment"],
            metrics=facts["metrics"],
            notes=[*notes, *facts["notes"]],
        )

    async def _keep_contents(
        self, place: Place, project_id: uuid.UUID, entries: Sequence[Entry]
    ) -> list[str]:
        files = {entry.object_id: entry for entry in entries if _may_be_kept(entry)}
        known = await self._known(project_id, list(files))
        new = [entry for object_id, entry in files.items() if object_id not in known]
        left = 0
        room = _MAX_NEW_BYTES
        for batch in _batches(new):
            room -= sum(entry.size for entry in batch)
            if room < 0:
                left += len(batch)
                continue
            ids = [entry.object_id for entry in batch]
            contents = await read_blobs(self.desk.git, place.path, ids)
            async with self.database.transaction() as tx:
                await keep_blobs(tx, [_blob(project_id, *each) for each in contents.items()])
        large = sum(1 for entry in entries if entry.is_file and entry.size > _MAX_TEXT_BYTES)
        notes = [f"{large} files larger than 256 KiB are kept by their hashes alone."] * bool(large)
        if left:
            notes.append(f"{left} new files are kept by their hashes alone: too much at once.")
        return notes

    async def _known(self, project_id: uuid.UUID, hashes: Sequence[str]) -> set[str]:
        known: set[str] = set()
        async with self.database.read() as read:
            for start in range(0, len(hashes), _ASKED_AT_ONCE):
                asked = hashes[start : start + _ASKED_AT_ONCE]
                query = select(ContextBlob.hash).where(
                    ContextBlob.project_id == project_id, ContextBlob.hash.in_(asked)
                )
                known.update(await read.scalars(query))
        return known

    async def _read(
        self, place: Place, entries: Sequence[Entry], reports: ReportsIn
    ) -> dict[str, Any]:
        by_path = {entry.path: entry for entry in entries if entry.is_file}
        paths = [path for path in by_path if _is_told(path)]
        notes: list[str] = []
        if len(paths) > _MAX_MANIFESTS:
            notes.append(f"Of {len(paths)} manifests {_MAX_MANIFESTS} were read.")
        paths = [
            path
            for path in sorted(paths, key=lambda path: (path.count("/"), path))[:_MAX_MANIFESTS]
            if by_path[path].size <= _MAX_TEXT_BYTES
        ]
        given = reports.model_dump(exclude_none=True)
        places = await self._report_paths(place, by_path)
        tracked = {
            kind: path
            for kind, path in places.items()
            if kind not in given and path in by_path and by_path[path].size <= MAX_REPORT_CHARACTERS
        }
        texts = await self._texts(place, by_path, {*paths, *tracked.values()})
        given |= {kind: texts[path] for kind, path in tracked.items()}
        facts = await read_files({path: texts[path] for path in paths}, given)
        return facts | {"notes": [*notes, *facts["notes"]]}

    async def _report_paths(self, place: Place, by_path: Mapping[str, Entry]) -> dict[str, str]:
        """Where the repository says that its reports are, or where they are as a rule."""
        entry = by_path.get(_REPORTS_FILE)
        if entry is None or entry.size > _MAX_TEXT_BYTES:
            return _USUAL_REPORTS
        content = (await self._texts(place, by_path, {_REPORTS_FILE}))[_REPORTS_FILE]
        try:
            named = json.loads(content)
        except (ValueError, RecursionError):
            return _USUAL_REPORTS
        wanted = {kind: table(named).get(kind) for kind in ReportsIn.model_fields}
        return _USUAL_REPORTS | {
            kind: path for kind, path in wanted.items() if isinstance(path, str)
        }

    async def _texts(
        self, place: Place, by_path: Mapping[str, Entry], paths: set[str]
    ) -> dict[str, str]:
        if not paths:
            return {}
        ids = sorted({by_path[path].object_id for path in paths})
        contents = await read_blobs(self.desk.git, place.path, ids)
        decoded = {each: content.decode("utf-8", "replace") for each, content in contents.items()}
        return {path: decoded[by_path[path].object_id] for path in paths}


async def read_files(
    files: Mapping[str, str],
    reports: Mapping[str, str],
    *,
    cpu_seconds: int = _READING_CPU_SECONDS,
) -> dict[str, Any]:
    """What manifests, deployment files and reports tell, read by a process with limits.

    A file that takes all there is costs the facts of that file alone: the others are read again
    without it.
    """
    if not files and not reports:
        return _no_facts()
    facts = await _read_apart(files, reports, cpu_seconds)
    if facts is not None:
        return facts
    log.warning("context.reading_ended", files=len(files))
    merged = _no_facts()
    parts = [*({path: text} for path, text in files.items())]
    for part in [*parts, {}]:
        facts = await _read_apart(part, {} if part else reports, cpu_seconds)
        if facts is None:
            what = next(iter(part), "A report")
            merged["notes"].append(f"{what} could not be read within the limits.")
            continue
        merged["dependencies"] |= facts["dependencies"]
        merged["metrics"] |= facts["metrics"]
        merged["notes"] += facts["notes"]
        for kind, found in facts["deployment"].items():
            merged["deployment"].setdefault(kind, []).extend(found)
    return merged


async def _read_apart(
    files: Mapping[str, str], reports: Mapping[str, str], cpu_seconds: int
) -> dict[str, Any] | None:
    request = {"files": files, "reports": reports, "cpu_seconds": cpu_seconds}
    asked = json.dumps(request).encode()
    result = await capture(
        [sys.executable, "-I", "-m", "agentvine.domains.contexts.reading"],
        cwd=Path(tempfile.gettempdir()),
        environment={"LC_ALL": "C.UTF-8"},
        stdin=asked,
        timeout_seconds=_READING_SECONDS,
    )
    if result.exit_code != 0 or result.has_timed_out or result.is_truncated:
        return None
    return json.loads(result.stdout)


def _no_facts() -> dict[str, Any]:
    return {"dependencies": {}, "deployment": {}, "metrics": {}, "notes": []}


def _is_told(path: str) -> bool:
    return dependencies.parser_of(path) is not None or deployment.parser_of(path) is not None


def _may_be_kept(entry: Entry) -> bool:
    name = PurePosixPath(entry.path).name
    return entry.is_file and entry.size <= _MAX_TEXT_BYTES and not _SECRETS.fullmatch(name)


def _batches(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (size + entry.size > _BATCH_BYTES or len(batch) == _BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def _blob(project_id: uuid.UUID, object_id: str, content: bytes) -> dict[str, Any]:
    text: str | None = None
    if b"\0" not in content:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = None
    return {"project_id": project_id, "hash": object_id, "size": len(content), "content": text}


def _file_facts(entry: Entry, asked: Mapping[str, list[dict[str, str]]]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "hash": entry.object_id,
        "bytes": entry.size,
        "kind": entry.kind.value,
    }
    if entry.path in asked:
        facts["requires"] = sorted({each["name"] for each in asked[entry.path]})
    return facts


def _lines(asked: Mapping[str, list[dict[str, str]]]) -> list[str]:
    """``pypi:fastapi >=0.165``, each once."""
    found = {
        f"{each['ecosystem']}:{each['name']} {each['requirement']}".rstrip()
        for listed in asked.values()
        for each in listed
    }
    return sorted(found)
