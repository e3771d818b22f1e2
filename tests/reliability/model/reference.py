"""The queue as it should behave, in plain Python: what the real one is compared with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

WEIGHTS = {"low": -1, "normal": 0, "high": 1, "critical": 2}
POISON_AFTER = 3


class Lost(Exception):
    """The claim is not the worker's any more."""


@dataclass
class Order:
    """One order."""

    number: int
    priority: str
    max_retries: int
    status: str = "pending"
    fence: int = 0
    retries: int = 0
    losses: int = 0
    holder: str = ""
    token: str = ""
    is_cancelled: bool = False
    answers: dict[int, str] = field(default_factory=dict)
    """What became of it by each claim that was reported not to have completed it."""

    @property
    def row(self) -> tuple[str, int, int, int]:
        """What is compared with the real row after each step."""
        return self.status, self.fence, self.retries, self.losses

    def is_held(self, fence: int) -> bool:
        """Whether this claim is the living one."""
        return self.status == "claimed" and self.fence == fence

    def wait_again(self) -> None:
        """Back into the queue."""
        self.status, self.holder, self.token, self.is_cancelled = "pending", "", "", False


@dataclass
class Queue:
    """All orders of one queue, and who may hold how many."""

    orders: list[Order] = field(default_factory=list)
    slots: dict[str, int] = field(default_factory=dict)

    def enqueue(self, priority: str, max_retries: int) -> Order:
        """A new order, last of its priority."""
        order = Order(len(self.orders), priority, max_retries)
        self.orders.append(order)
        return order

    def claim(self, worker: str, token: str, wanted: int) -> Sequence[Order]:
        """Grant the best, or what this token was granted before."""
        held = [order for order in self.orders if order.holder == worker and is_running(order)]
        again = [order for order in held if order.token == token]
        if again:
            return sorted(again, key=rank)
        free = min(wanted, self.slots[worker] - len(held))
        ready = sorted((order for order in self.orders if order.status == "pending"), key=rank)
        granted = ready[: max(free, 0)]
        for order in granted:
            order.status, order.holder, order.token = "claimed", worker, token
            order.fence += 1
        return granted

    def beat(self, order: Order, fence: int) -> str:
        """What a worker hears about a claim."""
        if not order.is_held(fence):
            return "lost"
        return "cancel" if order.is_cancelled else "kept"

    def complete(self, order: Order, fence: int) -> str:
        """The attempt succeeded."""
        if order.is_held(fence):
            order.status = "completed"
        elif order.fence != fence or order.status != "completed":
            raise Lost
        return order.status

    def fail(self, order: Order, fence: int, *, is_transient: bool) -> str:
        """The attempt failed."""
        if order.is_held(fence):
            self._try_again(order, losses=0, may_retry=is_transient)
            order.answers[fence] = order.status
        return self._answer(order, fence)

    def release(self, order: Order, fence: int) -> str:
        """The worker does not want it."""
        if order.is_held(fence) and order.is_cancelled:
            self._try_again(order, losses=0, may_retry=False)
        elif order.is_held(fence):
            order.wait_again()
        else:
            return self._answer(order, fence)
        order.answers[fence] = order.status
        return order.status

    def lose(self, order: Order) -> None:
        """Nobody has heard of the worker, or it was started anew."""
        if is_running(order):
            self._try_again(order, losses=order.losses + 1, may_retry=True)
            order.fence += 1

    def cancel(self, order: Order) -> None:
        """Somebody wants it stopped."""
        if order.status == "pending":
            order.status = "failed"
        elif is_running(order):
            order.is_cancelled = True

    def expire(self, order: Order) -> None:
        """It is too late to begin."""
        if order.status == "pending":
            order.status = "expired"

    def _answer(self, order: Order, fence: int) -> str:
        if fence not in order.answers:
            raise Lost
        return order.answers[fence]

    def _try_again(self, order: Order, *, losses: int, may_retry: bool) -> None:
        order.losses = losses
        is_over = order.is_cancelled or losses >= POISON_AFTER or order.retries >= order.max_retries
        if may_retry and not is_over:
            order.retries += 1
            order.wait_again()
        else:
            order.status = "failed"


def rank(order: Order) -> tuple[int, int]:
    """The order of claims: within the minutes of a test, priority outweighs waiting."""
    return -WEIGHTS[order.priority], order.number


def is_running(order: Order) -> bool:
    """Whether somebody holds it."""
    return order.status == "claimed"
