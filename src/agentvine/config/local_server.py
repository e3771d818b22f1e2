"""server.json in the data directory: how to reach the server that runs on it.

``agentvine up`` writes it while it runs; commands on the same machine read it, so that nobody has
to sign in to a server of one's own. It holds a token, so only its owner may read it.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agentvine.kit.process import ProcessId, find_process, is_running


class LocalServer(BaseModel):
    """The server of a data directory."""

    model_config = ConfigDict(frozen=True)

    url: str
    pid: int
    started: str
    token: str
    is_temporary: bool = False
    """Whether it ends with the command that started it."""

    @property
    def is_alive(self) -> bool:
        """Whether the process that wrote this still runs."""
        return is_running(ProcessId(self.pid, self.started))


def announce_local_server(
    data_dir: Path, *, url: str, token: str, is_temporary: bool = False
) -> LocalServer:
    """Say that this process is the server of a data directory."""
    pid = os.getpid()
    process = find_process(pid)
    server = LocalServer(
        url=url,
        pid=pid,
        started=process.start if process else "",
        token=token,
        is_temporary=is_temporary,
    )
    write_private(_path(data_dir), server.model_dump())
    return server


def find_local_server(data_dir: Path) -> LocalServer | None:
    """The server of a data directory, when it runs."""
    try:
        server = LocalServer.model_validate_json(_path(data_dir).read_bytes())
    except (OSError, ValidationError):
        return None
    return server if server.is_alive else None


def withdraw_local_server(data_dir: Path, server: LocalServer) -> None:
    """Take the announcement back, unless somebody else has made another since."""
    if find_local_server(data_dir) == server:
        _path(data_dir).unlink(missing_ok=True)


def write_private(path: Path, value: dict[str, Any]) -> None:
    """Put JSON in the place of a file, whole or not at all, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        draft.unlink()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file, indent=2)
    draft.replace(path)


def _path(data_dir: Path) -> Path:
    return data_dir / "server.json"
