"""Proving a password, for a token or for a browser: slowed down, and telling nothing."""

from agentvine.db.session import Database, Transaction
from agentvine.domains.identity import queries
from agentvine.domains.identity.errors import CredentialsWrong
from agentvine.domains.identity.limiter import SignInLimiter, forget_attempts
from agentvine.domains.identity.models import User
from agentvine.domains.identity.passwords import is_password
from agentvine.protocol.identity import LoginIn


async def prove_password(database: Database, shown: LoginIn, *, bcrypt_rounds: int) -> User:
    """The active user whose password this is.

    Whoever lets them in notes it (``note_sign_in``).

    Raises:
        CredentialsWrong: There is none; why is not told.
        TooManyAttempts: Too many were wrong lately.
        PasswordsBusy: Too many are being looked at.
    """
    async with database.read() as read:
        user = await queries.find_user_by_name(read, shown.username)
    await SignInLimiter(database).attempt(shown.username)
    is_right = await is_password(
        shown.password, user.password_hash if user else None, rounds=bcrypt_rounds
    )
    if user is None or not is_right or not user.is_active:
        raise CredentialsWrong("Check both and try again; an admin can set a new password.")
    return user


async def note_sign_in(tx: Transaction, user: User, shown: LoginIn) -> None:
    """Somebody is let in: their attempts are forgotten, and when they came is kept."""
    await forget_attempts(tx, shown.username)
    (await queries.get_user(tx, user.id)).last_login_at = tx.now
