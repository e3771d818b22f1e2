"""Claiming so that a lost answer loses nothing, also when the worker dies before it comes.

The token that goes with a claim is on disk before the request is sent, and is used again until an
answer with orders has come and the orders are on disk. The server gives the same orders to the
same token. The number that goes with it tells the server of a request that was held back on its
way: it is not to get orders that nobody would hear of.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from agentvine.client import Client
from agentvine.kit.errors import Conflict, Unavailable
from agentvine.kit.ids import random_token
from agentvine.protocol.queue import ClaimedOrder, ClaimIn, ReleaseIn
from agentvine.worker.disk import read_json, write_durably
from agentvine.worker.folders import ClaimRecord, RunFolder
from agentvine.worker.heartbeat import Identity
from agentvine.worker.leases import LeaseBook
from agentvine.worker.places import WorkerPlaces

_NUMBERED_SINCE = 1
_STALE = "claim_stale"

log = structlog.get_logger(__name__)


class ClaimsRefused(Unavailable):
    """The server takes no claim of this worker."""

    code = "claims_refused"


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought."""

    folders: list[RunFolder]
    sent_at: float
    """When the request was sent, on the lease clock: the leases began later than that."""


class Claims:
    """This worker's claims, one at a time."""

    def __init__(self, client: Client, places: WorkerPlaces, book: LeaseBook) -> None:
        """Go on with the token of an earlier process, if there is one.

        Args:
            client: Where to claim.
            places: Where to keep what is claimed.
            book: What is being worked on: an answer may name it again.
        """
        self._client = client
        self._places = places
        self._book = book
        token: object = read_json(places.claim).get("claim_token")
        self._token = token if isinstance(token, str) and len(token) >= 16 else None
        self._number = 1
        self._is_unanswered = self._token is not None
        self._stale_in_a_row = 0

    @property
    def is_unanswered(self) -> bool:
        """Whether the server may have granted something that we have not heard of."""
        return self._is_unanswered

    async def claim(self, identity: Identity, *, slots: int, wait_seconds: float) -> Claimed:
        """Ask for orders; each is on disk before this returns.

        Raises:
            ClaimsRefused: The server called a new claim stale, just after another one.
            OSError: The disk is full, or fails; nothing was claimed, or it was given back.
        """
        message = ClaimIn(
            worker_id=identity.worker_id,
            session_id=identity.session_id,
            claim_token=self._current_token(),
            slots=slots,
            wait_seconds=wait_seconds,
            **self._numbered(),
        )
        self._is_unanswered = True
        sent_at = self._book.now()
        try:
            answer = await self._client.queue.claim(message)
        except Conflict as error:
            if error.code != _STALE:
                raise
            # Granted while we were cut off, and lost again: the next request is a new claim.
            log.warning("claim.stale", problem=error.detail)
            self._use_up_token()
            self._stale_in_a_row += 1
            if self._stale_in_a_row > 1:
                raise ClaimsRefused(
                    "The server calls stale what was never claimed before: look at its log, and "
                    "whether its database was put back to an earlier state. The worker goes on "
                    "asking, with pauses."
                ) from error
            return Claimed([], sent_at)
        self._stale_in_a_row = 0
        known = self._book.execution_ids()
        new = [order for order in answer.orders if order.execution_id not in known]
        try:
            folders = [RunFolder.create(self._places.runs, order) for order in new]
        except OSError as error:
            await self._give_back(new, error)
            raise
        self._is_unanswered = False
        if answer.orders:
            # An empty answer leaves the token unused: it is good for the next request, too.
            self._use_up_token()
        return Claimed(folders, sent_at)

    async def _give_back(self, orders: Sequence[ClaimedOrder], error: OSError) -> None:
        """Let others have what cannot be kept here; the token stays until the server knows."""
        for order in orders:
            RunFolder(
                self._places.runs / str(order.execution_id), ClaimRecord(order=order)
            ).remove()
        for order in orders:
            reason = f"The worker cannot keep it on its disk: {error.strerror}."
            release = ReleaseIn(order_id=order.order_id, fence=order.fence, reason=reason)
            with suppress(Conflict):  # it is somebody else's by now
                await self._client.queue.release(release)
        self._use_up_token()

    def _numbered(self) -> dict[str, int]:
        """Nothing for a server of 1.0, which refuses what it does not know."""
        return {"number": self._number} if self._client.server_minor >= _NUMBERED_SINCE else {}

    def _use_up_token(self) -> None:
        self._places.claim.unlink(missing_ok=True)
        self._token = None
        self._number += 1
        self._is_unanswered = False

    def _current_token(self) -> str:
        if self._token is None:
            token = random_token(24)
            write_durably(self._places.claim, b'{"claim_token": "%s"}' % token.encode())
            # Not before it is on disk: one that a full disk has refused must not be used.
            self._token = token
        return self._token
