"""A worker as a process of its own, for tests that kill it; its configuration is its argument."""

import asyncio
import json
import sys
from pathlib import Path

from pydantic import SecretStr

from agentvine.kit.process import ContainmentLevel
from agentvine.worker import WorkerConfig, run_worker


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
