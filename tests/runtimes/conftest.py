import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentvine.kit.ids import new_id
from agentvine.protocol.enums import LogLevel, TaskType
from agentvine.protocol.queue import OrderPayload
from agentvine.runtimes.base import RunContext

MakeContext = Callable[..., RunContext]


class KeptLines:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.metadata: list[Mapping[str, Any]] = []
        self.has_lines = asyncio.Event()

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        self.lines.append((stream, message))
        self.metadata.append(metadata or {})
        self.has_lines.set()

    def of(self, stream: str) -> list[str]:
        return [message for name, message in self.lines if name == stream]


@pytest.fixture
def sink() -> KeptLines:
    return KeptLines()


@pytest.fixture
def make_context(tmp_path: Path, sink: KeptLines) -> Callable[..., RunContext]:
    def make(command: str | None, **changes: Any) -> RunContext:
        payload = OrderPayload(
            task_id=new_id(),
            task_ref="T-1",
            title="A task",
            task_type=TaskType.FEATURE,
            runtime="command",
            command=command,
            timeout_seconds=60,
            test_timeout_seconds=60,
        )
        context: dict[str, Any] = {
            "run_id": f"run-{new_id().hex}",
            "execution_id": str(new_id()),
            "worktree": tmp_path,
            "payload": payload,
            "output": sink,
            "stop": asyncio.Event(),
            "timeout_seconds": 60.0,
            "grace_seconds": 5.0,
        }
        return RunContext(**{**context, **changes})

    return make
