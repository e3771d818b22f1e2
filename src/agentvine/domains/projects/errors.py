"""Errors of the projects slice."""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, NotFound


class ProjectNotFound(NotFound):
    """There is no such project, or you may not see it."""

    code = "project_not_found"


class ProjectReadOnly(Forbidden):
    """You may look at this project but not change it."""

    code = "project_read_only"


class ProjectNotYours(Forbidden):
    """Only the project's owner or an admin may do this."""

    code = "project_not_yours"


class ProjectArchived(Conflict):
    """The project is archived."""

    code = "project_archived"


class MemberIsOwner(Conflict):
    """The owner needs no membership."""

    code = "member_is_owner"


class MemberUnknown(NotFound):
    """There is no such user or member."""

    code = "member_unknown"


class RepositoryNotFound(NotFound):
    """There is no such repository, or you may not see it."""

    code = "repository_not_found"


class RepositoryRegistered(Conflict):
    """This repository is registered already."""

    code = "repository_registered"


class RepositoryPathForbidden(Forbidden):
    """You may not register this path."""

    code = "repository_path_forbidden"


class CredentialsInUrl(Invalid):
    """A repository's URL must hold no password or token."""

    code = "credentials_in_url"


class RepositoryEmpty(Invalid):
    """The repository has no commit yet."""

    code = "repository_empty"


class BranchUnknown(Invalid):
    """The repository has no such branch."""

    code = "branch_unknown"
