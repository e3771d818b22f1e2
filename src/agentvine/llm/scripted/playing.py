"""Which turn of a script a request is to get.

It is told from the request alone: the conversation by what the user said, the exchange by how often
the user spoke, the step by the results of tools since then. So a request that comes again gets the
same turn again, and any number of conversations may go on at once.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from agentvine.llm.scripted.asked import Asked
from agentvine.llm.scripted.script import FOREVER, Conversation, Fault, Script, Turn, When

OVER = Turn(text="The script is over.")
"""What is said when more is asked than the script has."""


class Player:
    """One script being played. It remembers only which faults have been had."""

    def __init__(self, script: Script) -> None:
        """Begin."""
        self._script = script
        self._count = 0
        self._reached: Counter[tuple[str, int]] = Counter()

    def choose(self, asked: Asked) -> tuple[Turn, Fault | None, Conversation | None]:
        """The turn, the fault that comes in its place, and the conversation; None: on the side."""
        if self._script.mode == "sequence":
            conversation = self._script.all_conversations[0]
        else:
            conversation = find_conversation(self._script, asked)
        if conversation is None or _is_aside(asked, conversation):
            return Turn(text=self._script.title), None, None
        if self._script.mode == "sequence":
            turns = list(_unroll(conversation.turns, self._count + 1))
            index, turn = self._count, (turns[self._count] if self._count < len(turns) else OVER)
            self._count += 1
            # Each request is a new one here: what it reaches, it reaches for the first time.
            return turn, (turn.faults[0] if turn.faults else None), conversation
        index, turn = _find_turn(conversation, asked)
        return turn, self._next_fault(asked, index, turn), conversation

    def _next_fault(self, asked: Asked, index: int, turn: Turn) -> Fault | None:
        if not turn.faults:
            return None
        told = asked.transcript
        # A null byte keeps two prompts from looking like one.
        words = "\0".join([asked.key, *told.prompts, str(told.results), str(told.replies)])
        step = (hashlib.sha256(words.encode()).hexdigest(), index)
        self._reached[step] += 1
        had = self._reached[step]
        for fault in turn.faults:
            if fault.times == FOREVER or had <= int(fault.times):
                return fault
            had -= int(fault.times)
        return None


def find_conversation(script: Script, asked: Asked) -> Conversation | None:
    """The first entry that the request fits."""
    for conversation in script.all_conversations:
        if _fits(conversation.when, asked):
            return conversation
    return None


def _fits(when: When, asked: Asked) -> bool:
    prompts = asked.transcript.prompts
    return (
        (when.prompt is None or any(re.search(when.prompt, each) for each in prompts))
        and (when.system is None or re.search(when.system, asked.system) is not None)
        and (when.model is None or re.search(when.model, asked.model) is not None)
        and (when.key is None or re.search(when.key, asked.key) is not None)
        and (when.tools is None or when.tools is bool(asked.tools))
    )


def _is_aside(asked: Asked, conversation: Conversation) -> bool:
    """Whether this cannot be the conversation itself: it needs tools, and none are offered."""
    needs_tools = any(turn.calls for turn in conversation.turns) and not conversation.as_text
    return needs_tools and not asked.tools and conversation.when.tools is not False


def _find_turn(conversation: Conversation, asked: Asked) -> tuple[int, Turn]:
    turns = list(enumerate(conversation.turns))
    if conversation.as_text:
        return _find_step(turns, asked.transcript.replies, by_call=False)
    prompts = asked.transcript.prompts
    first = 0
    if conversation.when.prompt is not None:
        fitting = (re.search(conversation.when.prompt, each) for each in prompts)
        first = next(index for index, fits in enumerate(fitting) if fits)
    exchanges = list(_exchanges(turns))
    number = max(0, len(prompts) - 1 - first)
    exchange = exchanges[min(number, len(exchanges) - 1)]
    return _find_step(exchange, asked.transcript.results, by_call=True)


def _exchanges(turns: Sequence[tuple[int, Turn]]) -> Iterable[list[tuple[int, Turn]]]:
    """The turns from one word of the user's to the next: a turn without calls is the last."""
    exchange: list[tuple[int, Turn]] = []
    for index, turn in turns:
        exchange.append((index, turn))
        if not turn.calls:
            times = 1 if turn.repeat == FOREVER else int(turn.repeat)
            yield from [exchange] * times
            exchange = []
    if exchange:
        yield exchange


def _find_step(turns: Sequence[tuple[int, Turn]], done: int, *, by_call: bool) -> tuple[int, Turn]:
    """The turn after so many results (or, counted by reply, so many replies)."""
    for index, turn in turns:
        weight = len(turn.calls) if by_call else 1
        if weight == 0 or turn.repeat == FOREVER:
            return index, turn
        rounds = -(-done // weight)
        if rounds < int(turn.repeat):
            return index, turn
        done -= weight * int(turn.repeat)
    return len(turns), OVER


def _unroll(turns: Iterable[Turn], limit: int) -> Iterable[Turn]:
    for turn in turns:
        times = limit if turn.repeat == FOREVER else min(int(turn.repeat), limit)
        for _ in range(times):
            yield turn
