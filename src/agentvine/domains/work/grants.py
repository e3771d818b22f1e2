"""Claims that were granted, as they are answered: what is to be done goes out as it is stored."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from agentvine.protocol.queue import ClaimedOrder, OrderPayload


@dataclass(frozen=True, slots=True)
class Grant:
    """A claim granted: the order, its fence, and the execution to report against."""

    order_id: uuid.UUID
    execution_id: uuid.UUID
    fence: int
    attempt: int
    lease_seconds: float
    payload: str
    """JSON, written by us when the order was made. The server does not read it again: that took
    longer than the claim, and a worker reads it tolerantly anyway."""

    def order(self) -> ClaimedOrder:
        """The same as the worker reads it."""
        return ClaimedOrder(
            order_id=self.order_id,
            execution_id=self.execution_id,
            fence=self.fence,
            attempt=self.attempt,
            lease_seconds=self.lease_seconds,
            payload=OrderPayload.model_validate_json(self.payload),
        )


def claim_answer(grants: Sequence[Grant]) -> str:
    """The JSON of a ``ClaimOut``."""
    return f'{{"orders":[{",".join(map(_written, grants))}]}}'


def _written(grant: Grant) -> str:
    return (
        f'{{"order_id":"{grant.order_id}","execution_id":"{grant.execution_id}",'
        f'"fence":{grant.fence},"attempt":{grant.attempt},'
        f'"lease_seconds":{json.dumps(grant.lease_seconds)},"payload":{grant.payload}}}'
    )
