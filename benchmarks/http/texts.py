"""JSON of a beat read into our message, and of its answer written, by each library."""

import json
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec
import orjson

from agentvine.protocol.queue import HeartbeatIn
from benchmarks.http.messages import ANSWER, BEAT, BEAT_JSON

_TIMES = 500

READERS: dict[str, Callable[[], object]] = {
    "pydantic-core": lambda: HeartbeatIn.model_validate_json(BEAT_JSON),
    "json, then pydantic": lambda: HeartbeatIn.model_validate(json.loads(BEAT_JSON)),
    "orjson, then pydantic": lambda: HeartbeatIn.model_validate(orjson.loads(BEAT_JSON)),
    "msgspec, then pydantic": lambda: HeartbeatIn.model_validate(msgspec.json.decode(BEAT_JSON)),
}
WRITERS: dict[str, Callable[[], bytes]] = {
    "pydantic-core": lambda: ANSWER.__pydantic_serializer__.to_json(ANSWER),
    "json, after pydantic": lambda: json.dumps(ANSWER.model_dump(mode="json")).encode(),
    "orjson, after pydantic": lambda: orjson.dumps(ANSWER.model_dump()),
    "msgspec, after pydantic": lambda: msgspec.json.encode(ANSWER.model_dump()),
}


def microseconds(rounds: int) -> dict[str, dict[str, float]]:
    """For one message, the least of some rounds; by what is done and by whom."""
    for read in READERS.values():
        assert read() == BEAT
    for write in WRITERS.values():
        assert json.loads(write()) == json.loads(ANSWER.model_dump_json())
    return {
        "read a beat": _measured(READERS, rounds),
        "write its answer": _measured(WRITERS, rounds),
    }


def _measured(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.process_time()
            for _ in range(_TIMES):
                call()
            taken[name].append((time.process_time() - started) / _TIMES * 1e6)
    return {name: statistics.median(each) for name, each in taken.items()}
