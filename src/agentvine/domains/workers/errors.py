"""Errors of the workers slice."""

from agentvine.kit.errors import Conflict, Forbidden, NotFound, Unauthenticated


class WorkerNotFound(NotFound):
    """There is no such worker."""

    code = "worker_not_found"


class WorkerNameTaken(Conflict):
    """Another token's worker has this name."""

    code = "worker_name_taken"


class WorkerSuperseded(Conflict):
    """This process is not the worker's any more; it must stop."""

    code = "worker_superseded"


class WorkerNotAllowed(Forbidden):
    """The worker's key is not for this."""

    code = "worker_not_allowed"


class EnrolmentInvalid(Unauthenticated):
    """This invitation is not good, or not any more."""

    code = "enrolment_invalid"


class EnrolmentNotFound(NotFound):
    """There is no such invitation."""

    code = "enrolment_not_found"
