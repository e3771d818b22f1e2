"""What can go wrong with team runs."""

from agentvine.kit.errors import Conflict, Invalid, NotFound


class TeamRunNotFound(NotFound):
    """No such team run."""

    code = "team_run_not_found"


class TeamIncomplete(Invalid):
    """The team lacks somebody."""

    code = "team_incomplete"


class NothingToApprove(Conflict):
    """The team run does not wait for you."""

    code = "team_nothing_to_approve"


class TeamRunOver(Conflict):
    """The team run is over."""

    code = "team_run_over"


class PlanElsewhere(Conflict):
    """Tasks of another version of the plan are in the way."""

    code = "team_plan_elsewhere"
