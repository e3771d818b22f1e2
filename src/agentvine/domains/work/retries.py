"""When an order is tried again, and how soon. Pure: numbers in, a decision out."""

import random
from dataclasses import dataclass

from agentvine.config.settings import QueueSettings
from agentvine.protocol.enums import FailureClass, FailureHandling
from agentvine.protocol.queue import MAX_DELAY_SECONDS


@dataclass(frozen=True, slots=True)
class Attempted:
    """What is known of an order when one of its attempts has ended without success."""

    failure_class: FailureClass
    retry_count: int
    """Retries made before this attempt ended."""
    max_retries: int
    losses_in_a_row: int
    """Attempts lost with their worker in a row, this one included."""
    limit_lifted_in_seconds: float | None = None
    """When a provider's limit is lifted, if it was told."""
    was_stopped_before: bool = False
    """Whether the attempt before this one ended with its worker, too."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether and when to try again; ``reason`` says why not."""

    will_retry: bool
    delay_seconds: float = 0.0
    reason: str = ""
    costs_retry: bool = True
    """False: nothing was wrong with the attempt, it only came too early."""


_WITHOUT_REGARD_TO_RETRIES = {
    FailureHandling.STOP: Decision(will_retry=False),
    FailureHandling.WAIT: Decision(will_retry=False),
    FailureHandling.ANSWER: Decision(
        will_retry=True, delay_seconds=MAX_DELAY_SECONDS, costs_retry=False
    ),
}


def decide(attempted: Attempted, settings: QueueSettings, draw: random.Random) -> Decision:
    """Retry what may succeed elsewhere or later, a bounded number of times.

    A limit whose end the provider told is waited for as often as it comes: that costs no retry.
    """
    handling = attempted.failure_class.handling
    if handling in _WITHOUT_REGARD_TO_RETRIES:
        return _WITHOUT_REGARD_TO_RETRIES[handling]
    if handling is FailureHandling.DELAY and attempted.limit_lifted_in_seconds is not None:
        delay = _until_lifted(attempted.limit_lifted_in_seconds, settings, draw)
        return Decision(will_retry=True, delay_seconds=delay, costs_retry=False)
    if attempted.losses_in_a_row >= settings.poison_after_losses:
        return Decision(
            will_retry=False,
            reason=f"its worker was lost {attempted.losses_in_a_row} times in a row",
        )
    if attempted.retry_count >= attempted.max_retries:
        return Decision(will_retry=False, reason=f"all {attempted.max_retries} retries are used up")
    is_first_stop = (
        attempted.failure_class is FailureClass.WORKER_STOPPED and not attempted.was_stopped_before
    )
    if attempted.losses_in_a_row == 1 or is_first_stop:
        # A worker that ended says little about the order, and who can say it is there again.
        return Decision(will_retry=True)
    delay = back_off(attempted.retry_count, settings, draw)
    if handling is FailureHandling.DELAY:
        delay = max(delay, _until_lifted(_usual_delay(attempted, settings), settings, draw))
    return Decision(will_retry=True, delay_seconds=delay)


def _usual_delay(attempted: Attempted, settings: QueueSettings) -> float:
    if attempted.failure_class is FailureClass.QUOTA_EXHAUSTED:
        return settings.quota_delay_seconds
    return settings.rate_limit_delay_seconds


def _until_lifted(seconds: float, settings: QueueSettings, draw: random.Random) -> float:
    # Never before the moment told; a little after it, so that not all come at once.
    spread = min(seconds, settings.rate_limit_delay_seconds)
    delay = max(seconds, settings.retry_base_seconds) + spread * draw.uniform(
        0, settings.retry_jitter
    )
    return min(delay, MAX_DELAY_SECONDS)


def back_off(retry_count: int, settings: QueueSettings, draw: random.Random) -> float:
    """Seconds to wait: doubling from the base, capped, spread by the jitter."""
    # The exponent is bounded because a float overflows long before an order has so many retries.
    delay = min(
        settings.retry_cap_seconds, settings.retry_base_seconds * 2.0 ** min(retry_count, 32)
    )
    return delay * draw.uniform(1 - settings.retry_jitter, 1 + settings.retry_jitter)
