"""What must hold with every agent: a budget in dollars, words during its work, and its death."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from decimal import Decimal

import psutil
import pytest

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.usage.overrides import Rates
from agentvine.kit.clock import SystemClock
from agentvine.llm.scripted import Received, parse_script
from agentvine.protocol.briefs import RunBriefOut
from agentvine.protocol.controls import SteeringMessage
from agentvine.protocol.enums import FailureClass, PermissionLevel
from agentvine.reactions.routing import build_reactions
from agentvine.runtimes.steering import Mailbox
from tests.clis.desk import NAMES
from tests.clis.driving import Drive, MakeDrive, processes_of, short_form
from tests.clis.hostile import bring_settings
from tests.support.gateway import make_run, running_gateway, until, until_so

# Turns differ, since agents notice when they do the same again and again.
LOOP = "usage: {input: 1000, output: 2000}\nturns:\n" + "".join(
    f"  - calls: [{{run_command: {{command: 'echo {number} >> loop.txt'}}}}]\n"
    for number in range(60)
)
PRICE = Rates(
    input=Decimal("0.1"),
    output=Decimal(40),
    cache_read=Decimal("0.1"),
    cache_write=Decimal("0.1"),
    reasoning=Decimal(40),
    source="the test's own",
)
BUDGET = Decimal("0.50")


@pytest.fixture
async def books(sqlite_settings: DatabaseSettings) -> AsyncIterator[Database]:
    """A database of its own, with all that happens in it."""
    reactions = build_reactions(QueueSettings())
    opened = await Database.open(sqlite_settings, SystemClock(), reactions=reactions)
    yield opened
    await opened.close()


def cost_told(requests: list[Received]) -> Decimal:
    """What a provider would put on its bill."""
    told = [each.usage for each in requests if each.usage]
    return sum(
        ((each.tokens_in * PRICE.input + each.tokens_out * PRICE.output) / 10**6 for each in told),
        Decimal(0),
    )


@pytest.mark.parametrize("name", short_form(NAMES, "codex"))
async def test_an_agent_that_loops_spends_no_more_than_its_budget_and_ends_soon(
    name: str,
    drive: MakeDrive,
    books: Database,
    capsys: pytest.CaptureFixture[str],
):
    run, loop = drive(name, LOOP), asyncio.get_running_loop()
    payer = await make_run(books)
    budget = await payer.budget(str(BUDGET))
    async with running_gateway(books, run.base_url) as served:
        served.targets.rates = PRICE
        run.base_url, run.key = f"{served.url}/gateway", payer.key

        counters, began = served.gateway.counters, loop.time()
        refused_at = asyncio.create_task(noticed(lambda: counters["refused:budget_exceeded"] > 0))
        outcome, _ = await run.run("Do it again and again.")
        refused = await refused_at
        seconds = loop.time() - refused
        await until(payer.nothing_is_reserved)
    counter = await payer.counter(budget)

    with capsys.disabled():
        sys.stdout.write(f"\n{name} ended {seconds:.2f} s after the first refusal\n")
    assert outcome.failure is not None, run.log.tail
    assert outcome.failure.failure_class is FailureClass.BUDGET_EXHAUSTED, outcome
    billed = cost_told(run.upstream.requests)
    assert Decimal("0.40") < billed <= BUDGET
    assert counter.spent_usd == billed.quantize(Decimal("0.000001"))
    if name != "codex-acp":  # Its sandbox lets nothing be written that was not asked for.
        assert (run.worktree / "loop.txt").read_text().startswith("0\n1\n"), "its work stays"
    # 3 s are promised, of a machine that is not busy. One that is slow to end it was as slow to
    # come so far; no retry fits into either.
    assert seconds < max(10, refused - began)


async def noticed(is_so: Callable[[], bool]) -> float:
    """When it became so."""
    await until_so(is_so, seconds=600)
    return asyncio.get_running_loop().time()


GATED = """
turns:
  - text: First a quick one.
    calls:
      - write_file:
          path: wait.py
          content: |
            import os, time
            while not os.path.exists("go"):
                time.sleep(0.05)
  - text: This takes a while.
    calls: [{run_command: {command: python3 wait.py}}]
  - text: All is done.
"""
WORDS = "Paint it blue, said the person."


@pytest.mark.parametrize("name", short_form(NAMES, "claude-code"))
async def test_what_a_person_says_during_its_work_reaches_the_agent(name: str, drive: MakeDrive):
    run, mailbox = drive(name, GATED), Mailbox()
    running = asyncio.create_task(run.run("Take your time.", mailbox=mailbox))
    await run.log.wait_for("tool_call", running, count=2)

    now = SystemClock().now()
    mailbox.put([SteeringMessage(number=1, author="ada", text=WORDS, created_at=now)])
    handed = await mailbox.hand_over()
    (run.worktree / "go").touch()
    outcome, _ = await running

    assert [each.text for each in handed] == [WORDS]
    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    reached = [WORDS in str(each.body) for each in run.upstream.requests]
    assert reached[-1], "the model was told"
    assert not reached[0]


LONG = """
turns:
  - text: This takes a while.
    calls: [{run_command: {command: "python3 -c 'import time; time.sleep(600)'"}}]
  - text: Not reached.
"""
GOES_ON = """
turns:
  - calls: [{write_file: {path: after.txt, content: "yes\\n"}}]
  - text: I have gone on.
"""


@pytest.mark.parametrize("name", short_form(NAMES, "codex"))
async def test_an_agent_that_is_killed_in_its_first_turn_is_noticed_and_goes_on(
    name: str, drive: MakeDrive
):
    run = drive(name, LONG)
    first = asyncio.create_task(run.run("The task of all."))
    await run.log.wait_for("tool_call", first)
    kill(run)
    outcome, _ = await first

    assert outcome.failure is not None
    assert outcome.failure.failure_class is FailureClass.CRASHED, outcome
    session_id = run.sessions.session_id
    assert session_id is not None, "it is kept as soon as it is seen"

    run.upstream.play(parse_script(GOES_ON))
    brief = RunBriefOut.model_validate(
        {
            "instruction": "The task of all.",
            "summary": "It had begun to wait.",
            "session": {
                "session_id": session_id,
                "runtime": name,
                "worker_id": "01a21945-e590-7ed0-9261-eceada19962f",
                "execution_id": "01a21945-e590-7ed0-9261-eceada19962f",
            },
        }
    )
    outcome, _ = await run.run("", brief=brief)

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    assert (run.worktree / "after.txt").read_text() == "yes\n"
    asked = str([each.body for each in run.upstream.requests if not each.is_aside][-1])
    assert "The task of all." in asked, "it knows its task, whether it goes on or begins anew"
    assert "It had begun to wait." in asked


def kill(run: Drive) -> None:
    """As the system does that is out of memory: no signal that anybody could take."""
    for process in processes_of(run.run_id):
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


TWO_TURNS = """
turns:
  - calls: [{run_command: {command: 'echo hallo > hallo.txt'}}]
  - text: All is done.
"""


@pytest.mark.parametrize("name", short_form(NAMES, "claude-agent-acp", "opencode", "qwen"))
async def test_a_repository_s_own_settings_run_no_program_and_allow_nothing(
    name: str, drive: MakeDrive
):
    run = drive(name, TWO_TURNS)
    bring_settings(run.worktree, name)
    before = {path.name for path in run.worktree.iterdir()}

    brief = RunBriefOut(instruction="Say hallo.", permission_level=PermissionLevel.HUMAN_REQUIRED)
    outcome, asker = await run.run("", brief=brief)

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    # Codex's adapter keeps the command from writing, instead of asking about it.
    left = {path.name for path in run.worktree.iterdir()} - before
    assert left <= {"hallo.txt"}
    assert not left or any("echo hallo" in str(question) for question in asker.asked)
