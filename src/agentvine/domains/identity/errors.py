"""Errors of the identity slice."""

from agentvine.kit.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LimitReached,
    NotFound,
    Unauthenticated,
)


class KeyMisplaced(Forbidden):
    """This key does not open that door."""

    code = "key_misplaced"


class TokenInvalid(Unauthenticated):
    """The token is not valid."""

    code = "token_invalid"


class CredentialsWrong(Unauthenticated):
    """The user name or the password is wrong."""

    code = "credentials_wrong"


class TooManyAttempts(LimitReached):
    """Too many failed sign-ins."""

    code = "too_many_attempts"


class PasswordsBusy(LimitReached):
    """Too many passwords are being checked."""

    code = "passwords_busy"


class UserNotFound(NotFound):
    """There is no such user."""

    code = "user_not_found"


class UserExists(Conflict):
    """A user with this name or address exists."""

    code = "user_exists"


class LastAdmin(Conflict):
    """The last active admin must stay one."""

    code = "last_admin"


class TokenNotFound(NotFound):
    """There is no such token."""

    code = "token_not_found"


class ScopeUnknown(Invalid):
    """There is no such scope."""

    code = "scope_unknown"


class ScopeTooWide(Forbidden):
    """A token can only make tokens that may do less."""

    code = "scope_too_wide"


class IdempotencyKeyReused(Conflict):
    """This Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class IdempotencyKeyInvalid(Invalid):
    """The Idempotency-Key is not usable."""

    code = "idempotency_key_invalid"


class WorkerTokensAreForAdmins(Forbidden):
    """Only an admin may make a worker's token."""

    code = "worker_tokens_are_for_admins"


class TokenPrefixTaken(Conflict):
    """Another token begins like this one."""

    code = "token_prefix_taken"
