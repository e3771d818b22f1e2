"""Sign-in, users and tokens."""

import uuid

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.identity import (
    LoginIn,
    PasswordChangeIn,
    TokenCreatedOut,
    TokenCreateIn,
    TokenOut,
    UserCreatedOut,
    UserCreateIn,
    UserEditIn,
    UserOut,
    WhoAmIOut,
)


class AuthApi:
    """``auth/``: who am I, and the exchange of a password for a token."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def login(self, body: LoginIn) -> TokenCreatedOut:
        """A new token for a user name and password."""
        return await self._transport.fetch(post("auth/login", body), TokenCreatedOut)

    async def whoami(self) -> WhoAmIOut:
        """Who the server takes this client's token for."""
        return await self._transport.fetch(get("auth/whoami"), WhoAmIOut)


class UsersApi:
    """``users/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self) -> Listing[UserOut]:
        """All users."""
        return Listing(self._transport, "users", {}, PageOut[UserOut])

    async def create(self, body: UserCreateIn) -> UserCreatedOut:
        """A new user; a password that was made for them is in the answer, once."""
        # Without an Idempotency-Key: a stored answer would hold a secret.
        return await self._transport.fetch(post("users", body), UserCreatedOut)

    async def get(self, user_id: uuid.UUID) -> UserOut:
        """One user."""
        return await self._transport.fetch(get(f"users/{user_id}"), UserOut)

    async def edit(self, user_id: uuid.UUID, body: UserEditIn) -> UserOut:
        """Change what is set in the body."""
        return await self._transport.fetch(edit(f"users/{user_id}", body, None), UserOut)

    async def change_password(self, body: PasswordChangeIn) -> None:
        """Change one's own password."""
        await self._transport.send(post("users/me/password", body))


class TokensApi:
    """``tokens/``: one's own API tokens, and those of workers."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self) -> Listing[TokenOut]:
        """One's tokens, without their secrets."""
        return Listing(self._transport, "tokens", {}, PageOut[TokenOut])

    async def create(self, body: TokenCreateIn) -> TokenCreatedOut:
        """A new token; its secret is in the answer, once."""
        return await self._transport.fetch(post("tokens", body), TokenCreatedOut)

    async def revoke(self, token_id: uuid.UUID) -> None:
        """End a token at once."""
        await self._transport.send(Call("DELETE", f"tokens/{token_id}", is_repeatable=False))
