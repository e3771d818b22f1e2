"""Looks at a run that cost what the run has, whatever else the machine has."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator

from agentvine.kit.process.containment import BY_GROUP
from agentvine.kit.process.table import find_process
from agentvine.kit.process.tree import ProcessTree
from tests.support.processes import ENVIRONMENT, python, runs, shell

STRANGERS = 150
LOOKS = 40
AN_ORPHAN = """
import os, time
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.write(writer, str(os.getpid()).encode())
        time.sleep(60)
    os._exit(0)
os.wait()
print(os.read(reader, 20).decode(), flush=True)
time.sleep(60)
"""


@contextlib.contextmanager
def leading(argv: list[str]) -> Iterator[tuple[subprocess.Popen[bytes], ProcessTree]]:
    """A program in a session of its own, and the tree below it."""
    with subprocess.Popen(
        argv, env=ENVIRONMENT, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        tree = _beginning_at(process)
        try:
            yield process, tree
        finally:
            tree.kill()


def test_a_look_finds_descendants_that_have_left_the_group():
    script = "setsid sh -c 'sleep 60 & echo ready; sleep 60; :' & wait"
    with leading(shell(script)) as (process, tree):
        assert process.stdout is not None
        process.stdout.readline()
        deadline = time.monotonic() + 20
        while len(all_of := _beginning_at(process).members()) < 4:
            assert time.monotonic() < deadline

        # The first look is none of those at all that the machine runs.
        assert {row.id for row in tree.sample()} == {row.id for row in all_of}


def test_who_lost_their_parent_before_anybody_looked_is_found_by_a_wide_look():
    with leading(python(AN_ORPHAN)) as (process, tree):
        assert process.stdout is not None
        orphan = int(process.stdout.readline())

        found = [orphan in {row.pid for row in tree.sample()} for _ in range(6)]

        assert True in found
        assert found[-1], "who is known is looked at each time"
        assert runs(orphan)


def test_who_has_ended_is_not_found():
    with leading(shell("sleep 60 & echo $!; wait; sleep 60")) as (process, tree):
        assert process.stdout is not None
        child = int(process.stdout.readline())
        while child not in {row.pid for row in tree.sample()}:
            pass
        subprocess.run(["kill", "-9", str(child)], check=True)
        deadline = time.monotonic() + 20
        while child in {row.pid for row in tree.sample()}:
            assert time.monotonic() < deadline


def test_looks_cost_little_on_a_machine_that_runs_many_others():
    with contextlib.ExitStack() as stack:
        for _ in range(STRANGERS):
            other = stack.enter_context(subprocess.Popen(["sleep", "60"], env=ENVIRONMENT))
            stack.callback(other.kill)
        _, tree = stack.enter_context(leading(["sleep", "60"]))

        assert _seconds(tree.sample) < _seconds(tree.members) / 2


def _beginning_at(process: subprocess.Popen[bytes]) -> ProcessTree:
    leader = find_process(process.pid)
    assert leader is not None
    return ProcessTree(leader, None, is_leader_held=lambda: True, containment=BY_GROUP)


def _seconds(look: Callable[[], object]) -> float:
    started = time.process_time()
    for _ in range(LOOKS):
        look()
    return time.process_time() - started
