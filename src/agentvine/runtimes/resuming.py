"""Going on with an earlier attempt's session, or beginning anew where that is refused."""

from collections.abc import Awaitable, Callable

from agentvine.protocol.briefs import RunBriefOut
from agentvine.protocol.enums import FailureClass, LogLevel
from agentvine.runtimes.base import RunContext, RunOutcome

_CAUTION = (
    "Notes of earlier work, which may be out of date; where they and the files differ, the files "
    "are right."
)
_PART = "\n\n(This is a part of it; there was no room for the whole document.)"


async def run_or_begin_anew(
    context: RunContext, run: Callable[[str | None], Awaitable[RunOutcome]]
) -> RunOutcome:
    """Run with the session that the brief offers; without it where the program refuses it.

    Args:
        context: The run.
        run: Does one run; it is given the session to go on with, or None to begin anew.
    """
    session = context.brief.session if context.brief is not None else None
    if session is None:
        return await run(None)
    outcome = await run(session.session_id)
    failure = outcome.failure
    if (
        failure is None
        or failure.failure_class is not FailureClass.RESUME_REFUSED
        or context.stop.is_set()
    ):
        return outcome
    said = f"The session {session.session_id} could not be resumed: a new one begins."
    await context.output.write("system", said, level=LogLevel.WARNING)
    return await run(None)


def prompt_of(context: RunContext, *, is_resumed: bool) -> str:
    """The first words to the agent: its task, or what has happened since it was interrupted."""
    brief = brief_of(context)
    parts: list[str] = []
    if is_resumed:
        files = context.earlier_work or (
            "The files are not as you left them, but as they were before you began."
        )
        parts.append(
            f"Your earlier run at this task was interrupted. {files} Look before you rely on them, "
            "and then go on with the task."
        )
        # What it said before names the work tree of the attempt before.
        parts.append(
            f"Your working directory is now {context.worktree}: work there, and nowhere else."
        )
        if brief.summary:
            parts.append(f"What is known of it:\n\n{brief.summary}")
    else:
        parts.append(brief.instruction)
        if brief.rules_file_path:
            parts.append(f"## Rules\n\nFollow the rules in `{brief.rules_file_path}`.")
        parts.extend(_known(brief))
        earlier = "\n".join(filter(None, (brief.summary, context.earlier_work)))
        if earlier:
            parts.append(f"## Earlier attempts\n\n{earlier}")
    if brief.answers:
        told = "\n\n".join(f"You asked: {each.question}\n{each.answer}" for each in brief.answers)
        parts.append(f"## Answers to what you asked\n\n{told}")
    if brief.messages:
        told = "\n\n".join(f"{each.author}: {each.text}" for each in brief.messages)
        parts.append(f"## Said meanwhile\n\n{told}")
    return "\n\n".join(parts)


def _known(brief: RunBriefOut) -> list[str]:
    """What is known beforehand; told once, since a session that goes on has heard it."""
    parts: list[str] = []
    if brief.documents:
        told = "\n\n".join(
            f"### {each.title}\n\n{each.text}{'' if each.is_whole else _PART}"
            for each in brief.documents
        )
        parts.append(f"## Documents of the project\n\n{told}")
    if brief.memories:
        told = "\n".join(f"- {each.category}/{each.key}: {each.text}" for each in brief.memories)
        parts.append(f"## What you remember\n\n{_CAUTION}\n\n{told}")
    return parts


def brief_of(context: RunContext) -> RunBriefOut:
    """The brief; where none was given, what the order itself says."""
    if context.brief is not None:
        return context.brief
    payload = context.payload
    told = [payload.title, payload.description, payload.command]
    return RunBriefOut(instruction="\n\n".join(part for part in told if part))
