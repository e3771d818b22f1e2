"""What can go wrong between a plan and its tasks."""

from agentvine.kit.errors import Conflict, Invalid, NotFound


class StepsMissing(Invalid):
    """The plan has no steps."""

    code = "plan_steps_missing"


class ChangesMissing(Invalid):
    """The plan has no code changes."""

    code = "plan_changes_missing"


class PlanNotActive(Conflict):
    """The plan does not count."""

    code = "plan_not_active"


class ChangesNotApplied(Conflict):
    """The code changes could not be applied."""

    code = "plan_changes_not_applied"


class ChatNotFound(NotFound):
    """No such chat."""

    code = "plan_chat_not_found"


class ChatOver(Conflict):
    """The chat is completed."""

    code = "plan_chat_over"


class ChatBusy(Conflict):
    """The model still answers."""

    code = "plan_chat_busy"


class NothingToAsk(Conflict):
    """There is nothing to ask again."""

    code = "plan_chat_answered"


class ModelUnnamed(Invalid):
    """There is no model to ask."""

    code = "plan_chat_model_missing"


class ProposalNotFound(NotFound):
    """No such proposal."""

    code = "plan_proposal_not_found"


class ProposalUnusable(Conflict):
    """The proposal does not fit."""

    code = "plan_proposal_unusable"
