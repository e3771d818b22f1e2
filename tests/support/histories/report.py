"""The figures of a run, for the report that the long forms leave behind.

Each test appends a line to the file that AGENTVINE_CHAOS_REPORT names; without it nothing is kept.
"""

import json
import os
from pathlib import Path


def report(what: str, **figures: object) -> None:
    """Keep what was measured."""
    path = os.environ.get("AGENTVINE_CHAOS_REPORT")
    if path:
        with Path(path).open("a") as file:
            file.write(json.dumps({"what": what, **figures}) + "\n")
