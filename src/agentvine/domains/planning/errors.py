"""What can go wrong between a plan and its tasks."""

from agentvine.kit.errors import Conflict, Invalid


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
