"""Facts of source files in the database, by content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select

from agentvine.db.base import table_of
from agentvine.db.session import Database
from agentvine.domains.sources.models import SourceFacts
from agentvine.impact.facts import FACTS_VERSION, FileFacts, facts_from_json, facts_to_json
from agentvine.impact.reading import BlobKey
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("sources")
_KEPT = timedelta(days=30)
_ASKED_AT_ONCE = 2000
_FORGOTTEN_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """A ``FactsCache`` for all servers of a database; the caller is in no transaction."""

    database: Database

    async def load(self, keys: Sequence[BlobKey]) -> Mapping[BlobKey, FileFacts]:
        """Those that are known."""
        wanted = {(blob, _kind(language)): (blob, language) for blob, language in keys}
        blobs = list({blob for blob, _ in keys})
        known: dict[BlobKey, FileFacts] = {}
        for start in range(0, len(blobs), _ASKED_AT_ONCE):
            part = blobs[start : start + _ASKED_AT_ONCE]
            query = select(SourceFacts.blob, SourceFacts.kind, SourceFacts.facts)
            async with self.database.read() as read:
                rows = (await read.execute(query.where(SourceFacts.blob.in_(part)))).all()
            for blob, kind, facts in rows:
                if (key := wanted.get((blob, kind))) is not None:
                    known[key] = facts_from_json(facts)
        return known

    async def store(self, facts: Mapping[BlobKey, FileFacts]) -> None:
        """Keep some; what another server has stored meanwhile stays."""
        if not facts:
            return
        async with self.database.transaction(_ACTOR) as tx:
            rows = [
                {
                    "blob": blob,
                    "kind": _kind(language),
                    "facts": facts_to_json(found),
                    "created_at": tx.now,
                }
                for (blob, language), found in facts.items()
            ]
            # In one order, so that two servers do not wait for each other's rows.
            rows.sort(key=lambda row: (row["blob"], row["kind"]))
            await tx.execute(tx.dialect.upsert(table_of(SourceFacts), rows, keys=("blob", "kind")))

    async def forget(self) -> int:
        """Remove some that are old; returns how many, so that the rest comes at once.

        They may still be in use, and are read again then: once a month, each file.
        """
        async with self.database.transaction(_ACTOR) as tx:
            old = (
                select(SourceFacts.blob)
                .where(SourceFacts.created_at < tx.now - _KEPT)
                .order_by(SourceFacts.created_at)
                .limit(_FORGOTTEN_AT_ONCE)
            )
            blobs = (await tx.scalars(old)).all()
            await tx.execute(
                delete(SourceFacts)
                .where(SourceFacts.blob.in_(blobs))
                .execution_options(synchronize_session=False)
            )
            return len(blobs)


def _kind(language: str) -> str:
    return f"{language}.{FACTS_VERSION}"
