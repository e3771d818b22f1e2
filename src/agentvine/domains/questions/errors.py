"""Errors of the questions slice."""

from agentvine.kit.errors import Conflict, Invalid, LimitReached, NotFound


class QuestionNotFound(NotFound):
    """There is no such question, or you may not see it."""

    code = "question_not_found"


class QuestionSettledAlready(Conflict):
    """This question is not open any more."""

    code = "question_settled"


class AnswerInvalid(Invalid):
    """This is no answer to that question."""

    code = "answer_invalid"


class TooManyQuestions(LimitReached):
    """This run has asked too much that nobody has answered."""

    code = "too_many_questions"


class RuleNotFound(NotFound):
    """There is no such rule, or you may not see it."""

    code = "rule_not_found"


class TooManyRules(LimitReached):
    """There are so many rules that no more are taken."""

    code = "too_many_rules"
