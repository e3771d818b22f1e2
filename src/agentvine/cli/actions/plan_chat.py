"""What ``agentvine plan chat`` does: a dialogue with a model about a plan, line by line."""

import sys
import uuid
from collections.abc import Iterator, Sequence

import click

from agentvine.cli import asking, resolve
from agentvine.cli.actions.documents import find_document
from agentvine.cli.output import printable
from agentvine.cli.session import Session
from agentvine.protocol.enums import ChatSessionStatus
from agentvine.protocol.planning_chat import (
    ChatDeltaOut,
    ChatSayIn,
    ChatState,
    PlanChatMessageOut,
    PlanChatOut,
)
from agentvine.protocol.plans import PlanOut


async def chat(
    session: Session,
    *,
    name: str,
    text: str | None,
    repo: str | None,
    model: str | None,
    files: Sequence[str],
    documents: Sequence[str],
    tags: Sequence[str],
    accept: bool,
    again: bool,
    new: bool,
    end: bool,
) -> None:
    """Say something, or all lines of standard input, and show the answers."""
    plan = await resolve.find_plan(session, name, repo)
    talk = await _open(session, plan, is_new=new)
    if again:
        before = len(talk.messages)
        talk = await session.client.plan_chats.again(plan.id, talk.id)
        await _show(session, plan, talk.id, before)
    ids = await _find_all(session, plan, documents)
    is_silent = again or accept or end
    for words in [text] if text else [] if is_silent else _lines():
        body = ChatSayIn(text=words, model=model, files=list(files), documents=ids, tags=list(tags))
        before = len((await session.client.plan_chats.get(plan.id, talk.id)).messages) + 1
        await session.client.plan_chats.say(plan.id, talk.id, body)
        await _show(session, plan, talk.id, before)
    if accept:
        await _accept(session, plan, talk.id)
    if end:
        await session.client.plan_chats.complete(plan.id, talk.id)
    if session.out.as_json:
        session.out.data(await session.client.plan_chats.get(plan.id, talk.id))


async def _open(session: Session, plan: PlanOut, *, is_new: bool) -> PlanChatOut:
    """The dialogue that goes on, or another one."""
    newest = await resolve.collect(session.client.plan_chats.list(plan.id), 1)
    if newest and not is_new and newest[0].status is ChatSessionStatus.ACTIVE:
        return newest[0]
    return await session.client.plan_chats.open(plan.id)


async def _find_all(session: Session, plan: PlanOut, names: Sequence[str]) -> list[uuid.UUID]:
    if not names:
        return []
    repository = await session.client.repositories.get(plan.repository_id)
    return [(await find_document(session, name, repository.project_id)).id for name in names]


def _lines() -> Iterator[str]:
    if not sys.stdin.isatty():
        yield from (line.strip() for line in asking.read_lines() if line.strip())
        return
    while said := asking.prompt("you", suffix="> ", default="", err=False):
        yield said


async def _accept(session: Session, plan: PlanOut, chat_id: uuid.UUID) -> None:
    """Write what was proposed last into the draft."""
    talk = await session.client.plan_chats.get(plan.id, chat_id)
    proposals = talk.messages[-1].proposals if talk.messages else []
    for proposal in proposals:
        if proposal.problem is None:
            await session.client.plan_chats.accept(plan.id, chat_id, proposal.id)
            session.out.note(f"the {proposal.artifact_type} is in the draft")


async def _show(session: Session, plan: PlanOut, chat_id: uuid.UUID, after: int) -> None:
    async for item in session.client.plan_chats.follow(plan.id, chat_id, after=after):
        if isinstance(item, ChatDeltaOut):
            if not session.out.as_json:
                lines = item.text.split("\n")
                click.echo("\n".join(printable(line) for line in lines), nl=False)
            continue
        session.out.line()
        _conclude(session, plan, item)


def _conclude(session: Session, plan: PlanOut, message: PlanChatMessageOut) -> None:
    if message.state is not ChatState.COMPLETE:
        session.out.note(
            f"{message.state.value}: {message.error or 'the server ended'}; "
            f"`agentvine plan chat {plan.name} --again` asks once more."
        )
    for proposal in message.proposals:
        if proposal.problem:
            session.out.note(
                f"a proposed {proposal.artifact_type} does not fit: {proposal.problem}"
            )
        else:
            session.out.note(
                f"proposes {proposal.artifact_type}; `agentvine plan chat {plan.name} --accept` "
                "saves it in the draft."
            )
    cost = f"{message.tokens_in} + {message.tokens_out} tokens, ${message.cost_usd}"
    session.out.note(f"{message.model}: {cost}")
