"""How a run asks: a question with its choices, a tool's permission, a plan to be approved.

A runtime turns what its program asks into a ``RunQuestion``, waits at ``RunContext.asker``, and
gives its program the ``RunAnswer``. Who answers (a rule, a model, a person), and that a question
outlives the connection, the server and the worker, is the asker's business.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.questions import (
    AnswerDecision,
    QuestionKind,
    QuestionOption,
    RememberScope,
)

_NOBODY = "Nobody can be asked here"
_NO_ANSWER = f"{_NOBODY}: decide it yourself, and say what you decided."


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuestion:
    """What a run wants to know, or to be allowed."""

    key: str
    """The runtime's own id of it, at most 200 characters: asking again with the same key waits for
    the same answer."""
    kind: QuestionKind
    text: str
    options: Sequence[QuestionOption] = ()
    allows_text: bool = True
    """Whether an answer may be something else than an option."""
    allows_several: bool = False
    """Whether more than one option may be chosen."""
    default_option: str | None = None
    """The label to go on with when nobody answers in time."""
    tool_name: str | None = None
    tool_input: Mapping[str, Any] | None = None
    diff: str | None = None
    """What the tool would change, as a unified diff."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAnswer:
    """What a run is told."""

    decision: AnswerDecision
    """Allow and deny answer permissions and plans; a question is answered, or denied when
    nobody will answer it."""
    text: str = ""
    """The answer in words, or why not."""
    choices: Sequence[str] = ()
    """The labels of the options that were chosen."""
    updated_input: Mapping[str, Any] | None = None
    """What the tool is to be run with instead."""
    remember: RememberScope | None = None
    """How far the answer reaches; the same question is not asked there again."""
    author: str = ""
    """Who answered, or the rule that did."""

    @property
    def is_allowed(self) -> bool:
        """Whether the run may do what it asked for."""
        return self.decision is AnswerDecision.ALLOW


class AnswerDeferred(Exception):
    """The run is to end now; the next attempt is given the answer.

    A runtime lets its program end as for ``RunContext.stop``, keeps its session, and tells
    ``failure_class`` and the message as the run's failure.
    """

    failure_class = FailureClass.WAITING_FOR_ANSWER


class AnswerMissed(AnswerDeferred):
    """The run is to end now: nobody answered in time, and the question says that it fails then."""

    failure_class = FailureClass.QUESTION_EXPIRED


class Asker(Protocol):
    """Gets a run its answers."""

    async def ask(self, question: RunQuestion) -> RunAnswer:
        """Ask, and wait as long as it takes.

        Cancelling the call gives up the wait, not the question.

        Raises:
            AnswerDeferred: The run is to end now.
        """
        ...

    async def withdraw(self, key: str) -> None:
        """Say that an answer is no longer wanted: the program went on, or gave up by itself."""
        ...


class ToolQuestions(Protocol):
    """What a run's agent asks past its runtime, by our own tools."""

    async def follow(self, pause: Callable[[bool], None]) -> None:
        """Tell whenever the agent begins or ends to wait for a person, until cancelled.

        Raises:
            AnswerDeferred: It has waited for so long that the run is to end now.
        """
        ...

    async def check(self) -> None:
        """See that nothing is open.

        Raises:
            AnswerDeferred: Something is; the run is to go on when it is answered.
        """
        ...


class NoToolQuestions:
    """Where there are no such tools."""

    async def follow(self, pause: Callable[[bool], None]) -> None:
        """Nothing is asked."""

    async def check(self) -> None:
        """Nothing is open."""


class NobodyThere:
    """An asker where there is nobody: what must be allowed is denied."""

    async def ask(self, question: RunQuestion) -> RunAnswer:
        """Say so at once."""
        is_open = question.kind is QuestionKind.QUESTION
        return RunAnswer(
            decision=AnswerDecision.DENY, text=_NO_ANSWER if is_open else f"{_NOBODY}."
        )

    async def withdraw(self, key: str) -> None:
        """Nothing was asked."""
