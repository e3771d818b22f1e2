"""Which model a run's agent is told to use."""

from agentvine.kit.errors import Invalid
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.resuming import brief_of


class ModelNotNamed(Invalid):
    """This agent has to be told which model to use."""

    code = "model_not_named"


def chosen_model(context: RunContext) -> str | None:
    """The task's, else the gateway's default; None leaves it to the agent."""
    named = brief_of(context).model
    return named or (context.models.default_model if context.models else None)


def require_model(context: RunContext, agent: str) -> str:
    """The same for an agent that has none of its own.

    Raises:
        ModelNotNamed: None is named.
    """
    model = chosen_model(context)
    if model is None:
        raise ModelNotNamed(
            f"{agent} has to be told which model to use: give the task one with --model, or set "
            "the project's default model."
        )
    return model
