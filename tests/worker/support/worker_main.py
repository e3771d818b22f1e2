"""A worker as a process of its own, for tests that kill it; its configuration is its argument."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from agentvine.kit.process import ContainmentLevel
from agentvine.worker import WorkerConfig, run_worker


def worker_process(log: Path, **given: Any) -> "subprocess.Popen[bytes]":
    """Start one, with what ``main`` reads; what it prints goes to the end of the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, __file__, json.dumps(given)],
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )


def main() -> int:
    given = json.loads(sys.argv[1])
    config = WorkerConfig(
        server_url=given["server_url"],
        token=SecretStr(given["token"]),
        data_dir=Path(given["data_dir"]),
        name=given["name"],
        queues=tuple(given.get("queues", ["default"])),
        concurrency=given.get("concurrency", 1),
        grace_seconds=0.5,
        leftover_seconds=given.get("leftover_seconds", 14 * 86_400.0),
        containment=ContainmentLevel(given["containment"]) if "containment" in given else None,
    )
    return asyncio.run(run_worker(config))


if __name__ == "__main__":
    sys.exit(main())
