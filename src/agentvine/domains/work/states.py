"""Where an order may go from where it stands. The statements that move it are in ``store``."""

from agentvine.domains.work.enums import OrderStatus

_S = OrderStatus

ALLOWED: dict[OrderStatus, frozenset[OrderStatus]] = {
    _S.PENDING: frozenset({_S.CLAIMED, _S.FAILED, _S.EXPIRED}),
    # Back to pending: given back, or to be tried again.
    _S.CLAIMED: frozenset({_S.PENDING, _S.COMPLETED, _S.FAILED}),
    # A task that is tried again by a person gets a new order.
    _S.COMPLETED: frozenset(),
    _S.FAILED: frozenset(),
    _S.EXPIRED: frozenset(),
}


def check_move(origin: OrderStatus, to: OrderStatus) -> None:
    """See that a statement, which finds orders in one state, may leave them in another."""
    assert to is origin or to in ALLOWED[origin], f"an order does not go from {origin} to {to}"
