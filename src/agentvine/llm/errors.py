"""What can go wrong with a call to a model."""

from agentvine.kit.errors import Forbidden, Invalid, LimitReached, TooLarge, Unavailable


class ModelUnavailable(Unavailable):
    """The model's provider does not answer."""

    code = "model_unavailable"


class ModelTimedOut(Unavailable):
    """The model did not answer in time."""

    code = "model_timed_out"


class ModelLimited(LimitReached):
    """The model's provider takes no more calls at the moment."""

    code = "model_limited"


class ModelBudgetUsedUp(LimitReached):
    """The budget allows no further call to a model."""

    code = "model_budget_used_up"
    permanent = True


class ModelKeyRefused(Forbidden):
    """The model's provider does not accept the key."""

    code = "model_key_refused"


class ModelRequestRefused(Invalid):
    """The model's provider does not accept the request."""

    code = "model_request_refused"


class ContextTooLong(TooLarge):
    """The conversation is longer than the model can read."""

    code = "model_context_too_long"


class AnswerUnusable(Unavailable):
    """The model's answer does not have the form that was asked for."""

    code = "model_answer_unusable"
