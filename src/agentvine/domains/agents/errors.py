"""What can go wrong with agents."""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound


class AgentNotFound(NotFound):
    """No such agent."""

    code = "agent_not_found"


class AgentForbidden(Forbidden):
    """This agent is not yours to change."""

    code = "agent_forbidden"


class AgentExists(Conflict):
    """There is such an agent already."""

    code = "agent_exists"


class AgentInUse(Conflict):
    """What the agent said or made is still there."""

    code = "agent_in_use"


class AgentUnusable(Invalid):
    """This agent cannot take the task."""

    code = "agent_unusable"


class RevisionNotFound(NotFound):
    """The agent was never set up so."""

    code = "agent_revision_not_found"


class RulesPathInvalid(Invalid):
    """The rules file is not inside the repository."""

    code = "rules_path_invalid"


class MemoryMisplaced(Invalid):
    """The agent cannot remember this so."""

    code = "memory_misplaced"


class TooManyMemories(LimitReached):
    """The agent remembers too much."""

    code = "too_many_memories"
