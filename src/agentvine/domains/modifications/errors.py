"""Errors of the modifications slice."""

from agentvine.kit.errors import Conflict, NotFound


class ModificationNotFound(NotFound):
    """There is no such change, or you may not see it."""

    code = "modification_not_found"


class ContextNotFound(NotFound):
    """There is no such project context, or you may not see it."""

    code = "project_context_not_found"


class DecisionImpossible(Conflict):
    """Where the change stands, this cannot be decided about it."""

    code = "modification_decided"


class ChangeConflicts(Conflict):
    """The change conflicts with what has been merged since."""

    code = "change_conflicts"


class ChangeNotApplied(Conflict):
    """The change could not be applied."""

    code = "change_not_applied"
