"""The queue does, step by step and on both databases, what a hundred plain lines say it should."""

import asyncio
import os
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.reactions.routing import build_reactions
from tests.reliability.model.machine import QueueMachine
from tests.support.builders.work import SETTINGS
from tests.support.histories.report import report

EXAMPLES = int(os.environ.get("AGENTVINE_MODEL_EXAMPLES", "6"))
STEPS = int(os.environ.get("AGENTVINE_MODEL_STEPS", "25"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + EXAMPLES * STEPS)]


@pytest.mark.promise("P1", "P2", "P6", "P7")
def test_the_queue_does_what_the_model_says(
    database_settings: DatabaseSettings, database_kind: str
):
    # CI walks the same paths each time; the long form draws new ones.
    is_short = "AGENTVINE_MODEL_EXAMPLES" not in os.environ
    with asyncio.Runner() as runner:
        opening = Database.open(database_settings, SystemClock(), build_reactions(SETTINGS))
        database = runner.run(opening)
        run_state_machine_as_test(
            cast("Any", lambda: QueueMachine(runner, database)),
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=is_short,
                database=None,
                deadline=None,
                phases=[Phase.generate] if is_short else [Phase.generate, Phase.shrink],
                suppress_health_check=cast("Any", list(HealthCheck)),
            ),
        )
        runner.run(database.close())
    report("model", database=database_kind, examples=EXAMPLES, steps=STEPS)
