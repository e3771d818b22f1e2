"""The error tree: eight categories, each with one meaning for every front end.

    AppError
      Invalid            well formed but wrong                 HTTP 422   exit 2
      Unauthenticated    we do not know who you are            HTTP 401   exit 3
      Forbidden          we know, and you may not              HTTP 403   exit 3
      NotFound           also for what you may not see         HTTP 404   exit 4
      Conflict           the state does not allow it           HTTP 409   exit 5
      LimitReached       rate, concurrency, budget             HTTP 429   exit 6
        TooLarge         what is sent                          HTTP 413   exit 6
      Unavailable        try later                             HTTP 503   exit 7
      Internal           a bug of ours                         HTTP 500   exit 70

A domain error subclasses one category, names a stable ``code``, and its docstring is its title.
Statuses and exit codes are assigned by the front ends (``http/problems.py``, ``cli/``), never here.
"""

from typing import Any, ClassVar


class AppError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    permanent: ClassVar[bool] = True
    """Whether trying the same thing again, later, cannot succeed."""

    def __init__(self, detail: str, *, retry_after: float | None = None, **extra: Any) -> None:
        """Keep a one-sentence detail that says what to do, and extra facts for machines.

        Args:
            detail: What is wrong here, and what the reader can do about it.
            retry_after: Seconds after which a retry may succeed.
            **extra: JSON-compatible facts, shown to clients beside the detail.
        """
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.extra = extra

    @property
    def title(self) -> str:
        """The class docstring's first line, without its full stop."""
        return title_of(type(self))


def title_of(error: type[AppError]) -> str:
    """What all errors of a class are called: its docstring's first line, without the full stop."""
    return (error.__doc__ or error.__name__).strip().splitlines()[0].rstrip(".")


class Invalid(AppError):
    """The request is well formed but wrong."""

    code = "invalid"


class Unauthenticated(AppError):
    """Sign in or send a valid token."""

    code = "unauthenticated"


class Forbidden(AppError):
    """You may not do this."""

    code = "forbidden"


class NotFound(AppError):
    """There is no such thing, or you may not see it."""

    code = "not_found"


class Conflict(AppError):
    """The current state does not allow this."""

    code = "conflict"


class LimitReached(AppError):
    """A limit is reached."""

    code = "limit_reached"
    permanent = False


class TooLarge(LimitReached):
    """It is larger than may be sent."""

    code = "too_large"
    permanent = True


class Unavailable(AppError):
    """Not available at the moment."""

    code = "unavailable"
    permanent = False


class Internal(AppError):
    """A bug in AgentVine."""

    code = "internal"
