"""A program of its own that reads facts out of files: strangers' code is never parsed in a server.

Standard input holds a JSON list of languages on one line, and then, as ``git cat-file --batch``
prints them, the files. For each it prints one line of JSON before it begins with the next. So when
a file ends the program, by its size, its depth or its time, the reader's reader knows which.
"""

import gc
import json
import re
import resource
import signal
import sys
from collections.abc import Iterator
from typing import BinaryIO

from agentvine.impact.facts import FileFacts, facts_to_json
from agentvine.impact.python_facts import python_facts

MEMORY_BYTES = 1024**3
CPU_SECONDS_PER_FILE = 10.0
"""Of the processor, so that a busy machine ends nothing."""
_GO_MODULE = re.compile(r"^\s*module\s+\"?([^\s\"]+)", re.MULTILINE)


def main() -> int:
    """Read everything that standard input holds."""
    _limit()
    # What is read is thrown away file by file; there are no cycles worth looking for.
    gc.disable()
    languages = json.loads(sys.stdin.buffer.readline())
    for language, content in zip(languages, _blobs(sys.stdin.buffer), strict=True):
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_PER_FILE)
        facts = read_facts(language, content)
        sys.stdout.write(json.dumps(facts_to_json(facts), separators=(",", ":")) + "\n")
        sys.stdout.flush()
    return 0


def read_facts(language: str, content: bytes) -> FileFacts:
    """What one file imports and defines."""
    match language:
        case "python":
            return python_facts(content.decode("utf-8", "replace"))
        case "go.mod":
            found = _GO_MODULE.search(content.decode("utf-8", "replace"))
            return FileFacts(language, package=found[1] if found else "")
        case _:
            # Most repositories have none of these languages: they are loaded when they are needed.
            from agentvine.impact.grammars import grammar_facts  # noqa: PLC0415  # as said above

            return grammar_facts(language, content)


def _blobs(source: BinaryIO) -> Iterator[bytes]:
    # "<id> blob <size> LF <contents> LF", one after the other.
    while header := source.readline():
        size = int(header.rsplit(b" ", 1)[1])
        yield source.read(size)
        source.read(1)


def _limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    sys.exit(main())
