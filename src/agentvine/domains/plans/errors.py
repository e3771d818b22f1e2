"""What can go wrong with plans."""

from agentvine.kit.errors import Conflict, Invalid, NotFound


class PlanNotFound(NotFound):
    """No such plan."""

    code = "plan_not_found"


class PlanExists(Conflict):
    """The repository has a plan of this name already."""

    code = "plan_exists"


class PlanFixed(Conflict):
    """Only a draft can be changed."""

    code = "plan_fixed"


class PlanTransitionInvalid(Conflict):
    """The plan cannot go there from where it stands."""

    code = "plan_transition_invalid"


class PlansUnrelated(Invalid):
    """These are no versions of one plan."""

    code = "plans_unrelated"


class ArtifactUnreadable(Conflict):
    """What raw SQL wrote into the plan cannot be read."""

    code = "plan_artifact_unreadable"
