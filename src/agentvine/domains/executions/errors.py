"""Errors of the executions slice."""

from agentvine.kit.errors import Conflict, Invalid, NotFound, TooLarge


class ExecutionNotFound(NotFound):
    """There is no such execution, or you may not see it."""

    code = "execution_not_found"


class ExecutionEnded(Conflict):
    """This attempt has ended."""

    code = "execution_ended"


class LogGap(Conflict):
    """Lines are missing before this batch."""

    code = "log_gap"


class BundleNotFound(NotFound):
    """This execution left no bundle."""

    code = "bundle_not_found"


class BundleDamaged(Invalid):
    """The bundle is not what was announced."""

    code = "bundle_damaged"


class BundleMissing(Conflict):
    """The change's commits have not been sent."""

    code = "bundle_missing"


class BundleTooLarge(TooLarge):
    """The bundle is too large."""

    code = "bundle_too_large"
