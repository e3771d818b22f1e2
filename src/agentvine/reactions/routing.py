"""Which events lead to which reactions, in reading order."""

from collections.abc import Awaitable, Callable
from typing import Any
from zoneinfo import ZoneInfo

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Reactions, Transaction
from agentvine.domains.conversations.events import QuestionAsked, QuestionSettled
from agentvine.domains.executions.events import ChangeSeen
from agentvine.domains.identity.events import TokenRevoked
from agentvine.domains.modifications.events import (
    ChangeApplied,
    ChangeNotApplicable,
    ChangeRecorded,
    ChangeRejected,
)
from agentvine.domains.tasks.events import (
    TaskCancelRequested,
    TaskEdited,
    TaskFinished,
    TaskHeldBack,
    TaskReady,
)
from agentvine.domains.usage.events import BudgetExhausted
from agentvine.domains.work.events import (
    AttemptAdvanced,
    AttemptEnded,
    OrderClaimed,
    OrderCompleted,
    PlacesFreed,
)
from agentvine.domains.workers.events import WorkerRetired
from agentvine.reactions import (
    attempts,
    budgets,
    changes,
    contexts,
    notices,
    plans,
    queueing,
    teams,
)

_UTC = ZoneInfo("UTC")

Reaction = Callable[[Transaction, Any], Awaitable[None]]


def build_reactions(settings: QueueSettings, zone: ZoneInfo = _UTC) -> Reactions:
    """The one function that hands each event to the stories that care about it."""
    queue = queueing.Queueing(settings)
    of_budgets = budgets.Budgets(zone)
    routes: dict[type[object], tuple[Reaction, ...]] = {
        TaskReady: (queue.on_task_ready,),
        TaskEdited: (queue.on_task_edited,),
        TaskHeldBack: (queue.on_task_held_back,),
        TaskCancelRequested: (queue.on_task_cancel_requested, changes.on_task_cancel_requested),
        TaskFinished: (
            plans.on_task_finished,
            teams.on_task_finished,
            notices.on_task_finished,
        ),
        QuestionAsked: (notices.on_question_asked,),
        QuestionSettled: (teams.on_question_settled,),
        TokenRevoked: (queue.on_token_revoked,),
        WorkerRetired: (queue.on_worker_retired,),
        OrderClaimed: (attempts.on_order_claimed,),
        AttemptAdvanced: (attempts.on_attempt_advanced,),
        OrderCompleted: (attempts.on_order_completed,),
        AttemptEnded: (
            attempts.on_attempt_ended,
            of_budgets.on_attempt_ended,
            notices.on_attempt_ended,
        ),
        BudgetExhausted: (notices.on_budget_exhausted,),
        PlacesFreed: (queue.on_places_freed,),
        ChangeSeen: (changes.on_change_seen,),
        ChangeRecorded: (notices.on_change_recorded,),
        ChangeApplied: (changes.on_change_applied, contexts.on_change_applied),
        ChangeNotApplicable: (
            changes.on_change_not_applicable,
            notices.on_change_not_applicable,
        ),
        ChangeRejected: (changes.on_change_rejected,),
    }

    async def react(tx: Transaction, event: object) -> None:
        for reaction in routes.get(type(event), ()):
            await reaction(tx, event)

    return react
