"""``just bench-looks``: all ways in turn, beside few and many other processes, and ratios."""

import argparse
import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator

import psutil

from agentvine.kit.process.containment import Containment, ContainmentLevel
from agentvine.kit.process.table import ProcessId, find_process
from agentvine.kit.process.tree import ProcessTree

_A_RUN = "sh -c 'sleep 600 & sleep 600' & sleep 600"
_OURS = "AgentVine, while it runs, in a namespace"

Look = Callable[[], object]


@contextlib.contextmanager
def ways(others: int) -> Iterator[dict[str, Look]]:
    """Ways to look at a run of six processes, beside so many of others."""
    with contextlib.ExitStack() as stack:
        for _ in range(others):
            other = stack.enter_context(subprocess.Popen(["sleep", "600"]))
            stack.callback(other.kill)
        run = stack.enter_context(subprocess.Popen(["sh", "-c", _A_RUN], start_new_session=True))
        leader = find_process(run.pid)
        assert leader is not None
        tree = ProcessTree(leader, None, is_leader_held=lambda: True)
        stack.callback(tree.kill)
        while len(tree.members()) < 5:
            time.sleep(0.01)
        root = psutil.Process(run.pid)
        yield {
            "psutil, children of children": lambda: [
                child.memory_info() for child in root.children(recursive=True)
            ],
            "AgentVine, as at its end": tree.members,
            "AgentVine, while it runs, in a group": tree.sample,
            _OURS: _held(leader).sample,
        }


def _held(leader: ProcessId) -> ProcessTree:
    """The same processes, looked at as those that cannot leave."""
    namespace = Containment(level=ContainmentLevel.NAMESPACE)
    return ProcessTree(leader, None, is_leader_held=lambda: True, containment=namespace)


def measure(others: int, looks: int) -> dict[str, float]:
    """Microseconds of processor time that a look takes, by its way."""
    with ways(others) as found:
        return {name: _microseconds(look, looks) for name, look in found.items()}


def _microseconds(look: Look, looks: int) -> float:
    started = time.process_time()
    for _ in range(looks):
        look()
    return (time.process_time() - started) / looks * 1e6


def table(taken: dict[int, dict[str, float]]) -> str:
    """Markdown: each way beside each number of others, and its ratio to ours."""
    lines = ["| Others | Way | µs of CPU a look | Ratio |", "| ---: | --- | ---: | ---: |"]
    for others, ways_ in taken.items():
        for name, cost in ways_.items():
            lines.append(f"| {others} | {name} | {cost:.0f} | {cost / ways_[_OURS]:.1f} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--others", type=int, nargs="+", default=[0, 150, 600])
    parser.add_argument("--looks", type=int, default=200)
    options = parser.parse_args()

    print(table({others: measure(others, options.looks) for others in options.others}))


if __name__ == "__main__":
    main()
