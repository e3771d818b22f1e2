"""What a server or a worker writes about itself, seen from outside."""

import json
import os
import subprocess
import sys
from typing import Any

from agentvine.kit.logs import redact

PROGRAM = """
import logging, os, sys
import structlog
from agentvine.kit.logs import configure_logging
configure_logging(level="INFO", as_json=True)
log = structlog.get_logger("ours")
log.info("started", url="postgresql://u:hunter2@host/db", token="abc", n=1)
class Watched(dict):
    def items(self):
        print("looked at")
        return super().items()
log.debug("not.wanted", value=Watched(a=1))
logging.getLogger("theirs").warning("asked %s", "http://u:hunter2@host/")
try:
    raise ValueError("refused avw_abcdefgh_DEF-123-DEF-123-DEF-123")
except ValueError:
    log.exception("crashed")
    logging.getLogger("theirs").exception("crashed too")
print("done")
"""

TALKATIVE = """
import os, sys
import structlog
from agentvine.kit.logs import configure_logging
configure_logging(level="INFO", as_json=False)
for number in range(100):
    structlog.get_logger().info("x" * 10_000)
print("done", flush=True)
os._exit(0)  # without the flush of what cannot be written
"""


def run_program(program: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


def test_logs_are_json_lines_on_standard_error_without_secrets():
    done = run_program(PROGRAM)

    assert done.stdout == "done\n", "standard output is for results"
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "started",
        "asked http://u:[redacted]@host/",
        "crashed",
        "crashed too",
    ]
    assert lines[0]["url"] == "postgresql://u:[redacted]@host/db"
    assert (lines[0]["token"], lines[0]["n"]) == ("[redacted]", 1)
    assert all("Traceback" in line["exception"] for line in lines[2:])
    assert "hunter2" not in done.stderr
    assert "DEF-123" not in done.stderr


def test_who_cannot_write_goes_on_all_the_same():
    """Its reader is gone: lines are lost, nothing else is."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as broken:
        done = subprocess.run(
            [sys.executable, "-c", TALKATIVE],
            stdout=subprocess.PIPE,
            stderr=broken,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stdout) == (0, "done\n")


def redacted(**event: Any) -> dict[str, Any]:
    return dict(redact(None, "info", event))


def test_secrets_are_hidden_however_deep_they_lie():
    said = redacted(
        body={"username": "ada", "new_password": "hunter2", "keys": [{"worker_token": "x"}]},
        urls=["https://ada:hunter2@host/", "https://host/"],
        pair=("avu_abcdefgh_" + 20 * "S", 2),
        count=3,
    )

    assert said == {
        "body": {
            "username": "ada",
            "new_password": "[redacted]",
            "keys": [{"worker_token": "[redacted]"}],
        },
        "urls": ["https://ada:[redacted]@host/", "https://host/"],
        "pair": ["[redacted]", 2],
        "count": 3,
    }


def test_what_only_looks_like_a_secret_stays():
    said = redacted(event="task.claimed", path="/a/b:c@d", url="http://host:8420/x@y", tokens=12)

    assert said == {
        "event": "task.claimed",
        "path": "/a/b:c@d",
        "url": "http://host:8420/x@y",
        "tokens": 12,
    }
