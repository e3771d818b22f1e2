"""A beat with ten orders and its answer: what is sent most."""

from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ExecutionPhase
from agentvine.protocol.queue import HeartbeatIn, HeartbeatOut, Held, LeaseOut, LeaseState

_IDS = [new_id() for _ in range(10)]

BEAT = HeartbeatIn(
    worker_id=new_id(),
    session_id=new_id(),
    held=[Held(order_id=each, fence=3, phase=ExecutionPhase.RUNNING) for each in _IDS],
)
ANSWER = HeartbeatOut(
    leases=[LeaseOut(order_id=each, fence=3, state=LeaseState.KEPT) for each in _IDS],
    lease_seconds=60.0,
    drain=False,
)
BEAT_JSON = BEAT.model_dump_json().encode()
ANSWER_JSON = ANSWER.model_dump_json().encode()
