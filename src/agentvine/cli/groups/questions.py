"""``agentvine inbox``, ``answer``, ``question`` and ``rule``."""

from pathlib import Path

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, attach_option, limit_option, project_option
from agentvine.protocol.questions import QuestionState, RememberScope, RuleEffect

_ACTIONS = "agentvine.cli.actions.questions"
_NAME = "QUESTION|TASK"


@click.command()
@project_option
@click.option("--watch", is_flag=True, help="Go on, and show what is asked and settled meanwhile.")
@runs(f"{_ACTIONS}:inbox")
def inbox() -> None:
    """Show what waits for you: open questions, and changes to approve."""


@click.command()
@click.argument("name", metavar=_NAME)
@click.argument("text", metavar="[TEXT]", default="")
@click.option("--option", "choices", multiple=True, metavar="LABEL", help="Choose this; repeat.")
@click.option("--allow", "decision", flag_value="allow", help="Let the run do it.")
@click.option("--deny", "decision", flag_value="deny", help="Do not; TEXT says why.")
@click.option(
    "--remember", type=Words(RememberScope), help="Answer the same by itself in future, as far."
)
@click.option(
    "--pattern",
    metavar="INPUT",
    help="Remember it for all such inputs, `*` for any text, not for this very one.",
)
@attach_option
@project_option
@runs(f"{_ACTIONS}:answer")
def answer() -> None:
    """Answer a question, or allow or deny what a run asks to do.

    A question is called by the short name that `agentvine inbox` shows, by its id, or by its task
    where that asks nothing else.
    """


@click.group()
def question() -> None:
    """What runs have asked, and what they were told."""


@question.command("list")
@click.option("--task", metavar="TASK", help="Only those of one task.")
@click.option("--state", type=Words(QuestionState), help="Only those that stand there.")
@project_option
@limit_option
@runs(f"{_ACTIONS}:list_questions")
def list_questions() -> None:
    """List questions, oldest first."""


@question.command()
@click.argument("name", metavar=_NAME)
@project_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a question with all that was told, and its answer."""


@question.command()
@click.argument("name", metavar=_NAME)
@click.argument("attachment", metavar="ID", type=click.UUID)
@click.argument("file", type=click.Path(path_type=Path))
@project_option
@runs(f"{_ACTIONS}:save")
def save() -> None:
    """Write a file of a question, or of its answer, to FILE; `question show` has its id."""


@click.group()
def rule() -> None:
    """What is answered without asking you."""


@rule.command("list")
@click.argument("project", metavar="PROJECT")
@runs(f"{_ACTIONS}:list_rules")
def list_rules() -> None:
    """List a project's rules, and the answers that are remembered."""


@rule.command("add")
@click.argument("project", metavar="PROJECT")
@click.argument("effect", type=Words(RuleEffect), metavar="deny|ask|model|allow")
@click.option("--tool", default="*", show_default=True, help="Of which tool; `*` for any text.")
@click.option(
    "--pattern",
    default="*",
    show_default=True,
    metavar="INPUT",
    help="Which commands or paths; `*` for any text.",
)
@click.option("--reason", default="", help="Told to the agent.")
@runs(f"{_ACTIONS}:add_rule")
def add_rule() -> None:
    """Say what is to be answered without asking you.

    `deny` is never, `ask` always a person, `model` a language model first, `allow` always.
    """


@rule.command("remove")
@click.argument("name", type=click.UUID, metavar="RULE")
@runs(f"{_ACTIONS}:remove_rule")
def remove_rule() -> None:
    """Remove a rule, or forget an answer that was remembered."""
