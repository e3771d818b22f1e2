"""When an order is tried again, and how soon: numbers alone."""

import random

from agentvine.config.settings import QueueSettings
from agentvine.domains.work.retries import back_off


def test_pauses_double_up_to_the_cap_and_are_spread():
    settings = QueueSettings(retry_base_seconds=5, retry_cap_seconds=60, retry_jitter=0.2)
    draw = random.Random(1)
    for retries, mean in ((0, 5), (1, 10), (2, 20), (3, 40), (4, 60), (9, 60), (5000, 60)):
        pauses = [back_off(retries, settings, draw) for _ in range(200)]
        assert mean * 0.8 <= min(pauses) < mean * 0.85
        assert mean * 1.15 < max(pauses) <= mean * 1.2
