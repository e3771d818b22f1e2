"""Reports of workers, one or many, by the shortest way that does each justice."""

import random
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database, Transaction
from agentvine.domains.work import logins, settling
from agentvine.domains.work.logins import KeyLimits
from agentvine.domains.work.shortcuts import Shortcuts
from agentvine.kit.actor import WorkerActor
from agentvine.kit.errors import AppError, Unavailable
from agentvine.kit.redaction import mask_shapes
from agentvine.protocol.cleaning import cleaned_report
from agentvine.protocol.queue import CompleteIn, FailIn, OrderOutcome, ReleaseIn

Report = CompleteIn | FailIn | ReleaseIn


@dataclass(slots=True)
class Reports:
    """Takes reports; every one may be repeated, alone or with others."""

    database: Database
    settings: QueueSettings
    shortcuts: Shortcuts | None = None
    limits: KeyLimits | None = None
    draw: random.Random = field(default_factory=random.SystemRandom)
    """Spreads retries, so that they do not come in waves."""

    async def take(self, actor: WorkerActor, report: Report) -> OrderOutcome:
        """Take one.

        Raises:
            LeaseLost: The claim is not the caller's any more.
        """
        report = _cleaned(report)
        done = await self._take_plain(actor, [report])
        return done.get(report.order_id) or await self._take_alone(actor, report)

    async def take_many(
        self, actor: WorkerActor, reports: Sequence[Report]
    ) -> list[OrderOutcome | AppError]:
        """Take many, each as if it had come alone; what became of each, in the same order.

        Raises:
            Unavailable: The database is away or busy; whatever was taken may be sent again.
        """
        reports = [_cleaned(report) for report in reports]
        done = await self._take_plain(actor, reports)
        outcomes: list[OrderOutcome | AppError] = []
        for report in reports:
            try:
                outcome = done.get(report.order_id) or await self._take_alone(actor, report)
            except Unavailable:
                raise
            except AppError as error:
                outcomes.append(error)
            else:
                outcomes.append(outcome)
        return outcomes

    async def _take_plain(
        self, actor: WorkerActor, reports: Sequence[Report]
    ) -> dict[uuid.UUID, OrderOutcome]:
        counts = Counter(report.order_id for report in reports)
        # Two about one order are told apart by their fences, and so must go one after the other.
        plain = [
            report
            for report in reports
            if isinstance(report, CompleteIn) and counts[report.order_id] == 1
        ]
        if self.shortcuts is None or not plain:
            return {}
        return await self.shortcuts.complete(actor, plain)

    async def _take_alone(self, actor: WorkerActor, report: Report) -> OrderOutcome:
        async with self.database.transaction(actor) as tx:
            return await self._settle(tx, actor, report)

    async def _settle(self, tx: Transaction, actor: WorkerActor, report: Report) -> OrderOutcome:
        if isinstance(report, CompleteIn):
            return await settling.complete_order(tx, actor, report)
        if isinstance(report, FailIn):
            if self.limits is not None:
                report = await logins.with_key_limit(tx, report, self.limits)
            return await settling.fail_order(tx, actor, report, self.settings, self.draw)
        return await settling.release_order(tx, actor, report, self.settings, self.draw)


def _cleaned(report: Report) -> Report:
    """A report without what looks like a secret, whatever its worker has already masked."""
    match report:
        case CompleteIn():
            cleaned = cleaned_report(report.report, mask_shapes)
            if cleaned is report.report:
                return report
            changes = {"report": cleaned}
        case FailIn():
            changes = {
                "report": cleaned_report(report.report, mask_shapes),
                "message": mask_shapes(report.message),
            }
        case ReleaseIn():
            changes = {"reason": mask_shapes(report.reason)}
    return report.model_copy(update=changes)
