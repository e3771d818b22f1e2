"""The objects that talk to git and the disk for the server, built once."""

import os
import socket
from dataclasses import dataclass
from typing import Any

from agentvine.config.settings import Settings, environment_for_child
from agentvine.db.session import Database
from agentvine.domains.contexts.taking import SnapshotTaker
from agentvine.domains.contexts.vault import ContextVault
from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.storage import AttachmentStore
from agentvine.domains.executions.importing import BundleImporter
from agentvine.domains.gateway.bodies import BodyKeeper
from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.gateway.keys import KeyDesk
from agentvine.domains.gateway.relay import Gateway
from agentvine.domains.gateway.targets import ProviderTargets
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.foreseeing import ImpactDesk
from agentvine.domains.planning.changes import ChangeWriter
from agentvine.domains.projects.desk import RepositoryDesk
from agentvine.domains.projects.inspection import RepositoryInspector
from agentvine.domains.sources.cache import StoredFacts
from agentvine.domains.tracing.lines import LineTracer
from agentvine.domains.usage.ledger import Ledger
from agentvine.git.environment import FOR_REMOTES
from agentvine.git.runner import Git
from agentvine.impact.reading import CommitReader


@dataclass(frozen=True, slots=True)
class Effects:
    """What does slow work outside any transaction."""

    inspector: RepositoryInspector
    importer: BundleImporter
    applier: ChangeApplier
    desk: RepositoryDesk
    changes: ChangeWriter
    tracer: LineTracer
    snapshots: SnapshotTaker
    context_vault: ContextVault
    attachments: AttachmentDesk
    impacts: ImpactDesk
    reader: CommitReader
    facts: StoredFacts

    def by_class(self) -> dict[type[Any], object]:
        """Those that routes ask for."""
        asked = (
            *(self.inspector, self.importer, self.applier, self.changes),
            *(self.tracer, self.impacts, self.snapshots, self.context_vault, self.attachments),
        )
        return {type(effect): effect for effect in asked}


def open_gateway(settings: Settings, database: Database, vault: KeyVault) -> Gateway:
    """The relay of this process."""
    owner = f"{socket.gethostname()}:{os.getpid()}"
    return Gateway(
        database,
        Ledger(database, owner),
        KeyDesk(database),
        ProviderTargets(database, vault),
        settings.zone,
        BodyKeeper(database, settings.keep_call_bodies_days),
    )


def open_doors(settings: Settings, database: Database, vault: KeyVault) -> ModelDoors:
    """The server's own way to models."""
    owner = f"{socket.gethostname()}:{os.getpid()}"
    targets = ProviderTargets(database, vault)
    return ModelDoors(database.clock, Ledger(database, owner), targets, settings.zone)


def build_effects(settings: Settings, database: Database) -> Effects:
    """Wire what works outside of transactions."""
    git = Git(environment=environment_for_child(keep=FOR_REMOTES))
    desk = RepositoryDesk(git, settings.data_dir / "server" / "mirrors")
    facts = StoredFacts(database)
    reader = CommitReader(git, facts)
    importer = BundleImporter(database, desk, reader)
    return Effects(
        inspector=RepositoryInspector(git, settings.repository_roots),
        importer=importer,
        applier=ChangeApplier(database, desk, importer),
        desk=desk,
        changes=ChangeWriter(database, desk),
        tracer=LineTracer(database, desk),
        snapshots=SnapshotTaker(database, desk),
        context_vault=ContextVault.of(settings.secret_key),
        attachments=AttachmentDesk(
            database, AttachmentStore(settings.data_dir / "server" / "attachments")
        ),
        impacts=ImpactDesk(database, desk, reader),
        reader=reader,
        facts=facts,
    )
