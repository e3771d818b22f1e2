"""What can go wrong with snapshots."""

from agentvine.kit.errors import Conflict, Invalid, LimitReached, NotFound


class ContextNotFound(NotFound):
    """There is no such project context, or you may not see it."""

    code = "context_not_found"


class ContextIsCurrent(Conflict):
    """This is the repository's current context."""

    code = "context_is_current"


class ContextDeleted(Conflict):
    """The context was deleted."""

    code = "context_deleted"


class ContextsUnrelated(Invalid):
    """These two contexts are not of one repository."""

    code = "contexts_unrelated"


class ContentNotKept(NotFound):
    """The content of this file was not kept."""

    code = "content_not_kept"


class VariableNameInvalid(Invalid):
    """This is no name of an environment variable."""

    code = "variable_name_invalid"


class VariableNotFound(NotFound):
    """The context has no such environment variable."""

    code = "variable_not_found"


class TooManyVariables(LimitReached):
    """The context has too many environment variables."""

    code = "too_many_variables"


class RepositoryWithoutProject(Invalid):
    """The repository belongs to no project."""

    code = "repository_without_project"
