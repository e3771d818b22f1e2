import pytest

from agentvine.protocol.questions import AnswerDecision, AnswerIn, QuestionKind
from agentvine.runtimes.asking import NobodyThere, RunQuestion


@pytest.mark.parametrize("kind", list(QuestionKind))
async def test_where_nobody_can_be_asked_everything_is_denied_at_once(kind: QuestionKind):
    answer = await NobodyThere().ask(RunQuestion(key="1", kind=kind, text="May I?"))
    assert answer.decision is AnswerDecision.DENY
    assert answer.text.startswith("Nobody can be asked here")
    assert not answer.is_allowed


@pytest.mark.parametrize("said", [{}, {"text": "  "}, {"decision": "expired"}])
def test_an_answer_says_something(said: dict[str, str]):
    with pytest.raises(ValueError, match=r"an answer has|a person allows"):
        AnswerIn.model_validate(said)
