"""Errors of the work slice."""

from agentvine.kit.errors import Conflict, Invalid, LimitReached, NotFound


class LeaseLost(Conflict):
    """This claim is no longer yours: stop the run and discard it."""

    code = "lease_lost"


class ClaimStale(Conflict):
    """This claim was granted before, and what it got has ended: claim with the next number."""

    code = "claim_stale"


class OrderNotFound(NotFound):
    """There is no such work order, or you may not see it."""

    code = "order_not_found"


class OrderClaimed(Conflict):
    """A worker has claimed this order already."""

    code = "order_claimed"


class LimitNotFound(NotFound):
    """There is no such limit or pause."""

    code = "limit_not_found"


class LimitTargetInvalid(Invalid):
    """A limit cannot be about this."""

    code = "limit_target_invalid"


class OrderNotRunning(Conflict):
    """This order is not being run now."""

    code = "order_not_running"


class PauseUnsupported(Conflict):
    """The worker of this run cannot pause it."""

    code = "pause_unsupported"


class SteeringUnsupported(Conflict):
    """This run takes no messages."""

    code = "steering_unsupported"


class FilesUnsupported(Conflict):
    """This run takes no files."""

    code = "files_unsupported"


class TooManyMessages(LimitReached):
    """This run has not taken the messages before this one."""

    code = "too_many_messages"
