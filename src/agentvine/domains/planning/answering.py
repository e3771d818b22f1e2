"""Letting a model answer in a dialogue: what it says is stored as it comes.

An answer belongs to the server, not to a connection: whoever listens may go and come again. It is
renewed while it goes on, so an answer that a dead server left is known for one.
"""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import ValidationError

from agentvine.db.session import Database, ReadSession
from agentvine.db.shielding import finish
from agentvine.domains.gateway.doors import Bill, ModelDoors
from agentvine.domains.knowledge.choosing import About, Given, chosen_documents
from agentvine.domains.planning.briefing import look, system_prompt
from agentvine.domains.planning.chat_log import ChatEntry, Proposal, read_entries, write_entries
from agentvine.domains.planning.chats import CHANNEL, lock_chat
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans.models import ChatSession, Plan
from agentvine.domains.plans.rendering import render_changes, render_plan
from agentvine.domains.projects.desk import RepositoryDesk
from agentvine.domains.projects.models import Repository
from agentvine.domains.usage.calls import Payer
from agentvine.impact.reading import CommitReader
from agentvine.kit.actor import SystemActor, UserActor
from agentvine.kit.errors import AppError
from agentvine.kit.ids import new_id
from agentvine.llm.door import ModelDoor
from agentvine.llm.messages import Conversation, Reply, Tool, ToolCall, ToolResult
from agentvine.protocol.enums import ArtifactType
from agentvine.protocol.planning_chat import ChatState
from agentvine.protocol.plans import ARTIFACT, CodeChanges, FeaturePlan, ImplementationSteps

_ACTOR = SystemActor("planner")
_SAVE_SECONDS = 0.2
_RENEW_SECONDS = 10.0
_ROUNDS = 3
"""How often a proposal that does not fit is sent back, with the reason, less one."""

_SHAPES: dict[ArtifactType, tuple[type[FeaturePlan | ImplementationSteps | CodeChanges], str]] = {
    ArtifactType.FEATURE_PLAN: (FeaturePlan, "Propose the feature plan: goal, scope, criteria."),
    ArtifactType.IMPLEMENTATION_STEPS: (ImplementationSteps, "Propose the steps, all of them."),
    ArtifactType.CODE_CHANGES: (CodeChanges, "Propose changes of files, ready to be applied."),
}
TOOLS = [
    Tool(name=f"propose_{kind.value}", description=words, schema=shape.model_json_schema())
    for kind, (shape, words) in _SHAPES.items()
]

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Answer:
    """One answer while it is made."""

    chat_id: uuid.UUID
    entry_id: uuid.UUID
    text: str = ""
    proposals: list[Proposal] = field(default_factory=list[Proposal])
    cost: Bill = field(default_factory=Bill)
    news: asyncio.Event = field(default_factory=asyncio.Event)


class AnswerReplaced(Exception):
    """Somebody has given up on this answer; nothing more of it is kept."""


@dataclass(frozen=True, slots=True)
class ChatDesk:
    """Makes answers. One for a server; close it at its end."""

    database: Database
    desk: RepositoryDesk
    reader: CommitReader
    doors: ModelDoors
    _running: set["asyncio.Task[None]"] = field(default_factory=set["asyncio.Task[None]"])

    def begin(self, actor: UserActor, chat_id: uuid.UUID, entry_id: uuid.UUID) -> None:
        """Let the model answer; what it says is in the dialogue's document."""
        answer = _Answer(chat_id, entry_id)
        task = asyncio.create_task(self._run(actor, answer), name="answer in a plan's chat")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Break off what goes on; what has come so far is kept, and marked."""
        await asyncio.sleep(0)  # one that is cancelled before it has begun could mark nothing
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _run(self, actor: UserActor, answer: _Answer) -> None:
        try:
            try:
                await self._with_saving(answer, self._ask(actor, answer))
            except AppError as error:
                await self._save(answer, ChatState.FAILED, error.detail)
            except asyncio.CancelledError:
                await finish(self._save(answer, ChatState.INTERRUPTED, "the server was stopped"))
                raise
            else:
                await self._save(answer, ChatState.COMPLETE)
        except AnswerReplaced:
            log.info("plan_chat.answer_replaced", chat=str(answer.chat_id))
        except AppError as error:
            # The database is away; the answer is found stale, and can be asked for again.
            log.warning("plan_chat.answer_lost", chat=str(answer.chat_id), problem=error.detail)

    async def _with_saving(self, answer: _Answer, asking: Any) -> None:
        saving = asyncio.create_task(self._keep_saving(answer), name="save an answer")
        work = asyncio.create_task(asking, name="ask a model")
        try:
            await asyncio.wait({saving, work}, return_when=asyncio.FIRST_COMPLETED)
            if saving.done():
                saving.result()  # only ends by an error
            work.result()
        finally:
            for task in (saving, work):
                task.cancel()
            await asyncio.gather(saving, work, return_exceptions=True)

    async def _keep_saving(self, answer: _Answer) -> None:
        while True:
            try:
                async with asyncio.timeout(_RENEW_SECONDS):
                    await answer.news.wait()
            except TimeoutError:
                pass
            answer.news.clear()
            await self._save(answer, ChatState.ANSWERING)
            await asyncio.sleep(_SAVE_SECONDS)

    async def _save(self, answer: _Answer, state: ChatState, error: str | None = None) -> None:
        async with self.database.transaction(_ACTOR) as tx:
            session = await lock_chat(tx, answer.chat_id)
            entries = read_entries(session, tx.now) if session is not None else []
            entry = next((entry for entry in entries if entry.id == answer.entry_id), None)
            if session is None or entry is None or entry.state is not ChatState.ANSWERING:
                raise AnswerReplaced
            entry.text, entry.state, entry.error = answer.text, state, error
            entry.proposals, entry.renewed_at = list(answer.proposals), tx.now
            entry.tokens_in, entry.tokens_out = answer.cost.used.input, answer.cost.used.output
            entry.cost_usd = answer.cost.usd
            write_entries(session, entries)
            tx.hint(CHANNEL, str(session.id))

    async def _ask(self, actor: UserActor, answer: _Answer) -> None:
        async with self.database.read() as read:
            session = await read.get_one(ChatSession, answer.chat_id)
            entries = read_entries(session, self.database.clock.now())
            plan = await read.get_one(Plan, session.plan_id)
            repository = await read.get_one(Repository, plan.repository_id)
            content = await plans.get_content(read, plan)
            documents = await _chosen(read, actor, repository, entries)
        files = list(dict.fromkeys(name for entry in entries for name in entry.files))
        seen = await look(self.desk, self.reader, repository, plan.target_branch, files)
        text = render_plan(plan, content)
        if content.changes is not None:
            text += f"\n# Code changes\n\n{render_changes(content.changes.changes)}"
        talk = Conversation(await system_prompt(text, seen, documents))
        _retell(talk, entries, answer.entry_id)
        model = next(entry.model for entry in entries if entry.id == answer.entry_id)
        payer = Payer(user_id=actor.user_id, project_id=repository.project_id)
        door = self.doors.door_for(payer, on_settled=answer.cost.add)
        for _ in range(_ROUNDS):
            reply = await _hear(door, model or "", talk, answer)
            results = [_take(answer, call) for call in reply.calls]
            if not any(result.is_error for result in results):
                return
            talk.give(results)


async def _chosen(
    read: ReadSession, actor: UserActor, repository: Repository, entries: list[ChatEntry]
) -> Sequence[Given]:
    """The documents that were chosen in the dialogue, the last choice first."""
    said = [entry for entry in reversed(entries) if entry.role == "user"]
    ids = dict.fromkeys(each for entry in said for each in entry.documents)
    tags = dict.fromkeys(tag for entry in said for tag in entry.tags)
    about = About(
        project_id=repository.project_id,
        repository_id=repository.id,
        text=said[0].text if said else "",
    )
    return await chosen_documents(read, actor, about, ids=ids, tags=tags)


async def _hear(door: ModelDoor, model: str, talk: Conversation, answer: _Answer) -> Reply:
    if answer.text:
        answer.text += "\n\n"
    async with door.stream(model, talk, tools=TOOLS) as stream:
        async for piece in stream:
            answer.text += piece
            answer.news.set()
    assert stream.reply is not None, "it has come to its end"
    return stream.reply


def _take(answer: _Answer, call: ToolCall) -> ToolResult:
    """Keep what is proposed; what does not fit is told to the model."""
    kind, content = call.name.removeprefix("propose_"), dict(call.input)
    problem = call.problem
    if problem is None:
        try:
            part = ARTIFACT.validate_python({"artifact_type": kind, "content": content})
        except ValidationError as error:
            problem = "; ".join(
                f"{'.'.join(map(str, each['loc']))}: {each['msg']}"
                for each in error.errors(include_url=False)[:5]
            )
        else:
            content = part.content.model_dump(mode="json", exclude_none=True)
    # A better one of its kind takes the place of one that does not fit.
    answer.proposals = [p for p in answer.proposals if p.artifact_type != kind or not p.problem]
    answer.proposals.append(
        Proposal(id=new_id(), artifact_type=kind[:50], content=content, problem=problem)
    )
    answer.news.set()
    if problem is None:
        return ToolResult(call=call, text="The person sees it, and decides.")
    return ToolResult(call=call, text=f"This does not fit: {problem}. Call again.", is_error=True)


def _retell(talk: Conversation, entries: list[ChatEntry], until: uuid.UUID) -> None:
    """What was said so far; answers that did not come to their end are left out."""
    for entry in entries:
        if entry.id == until:
            return
        if entry.role == "user":
            talk.say(entry.text)
        elif entry.state is ChatState.COMPLETE:
            kinds = ", ".join(p.artifact_type for p in entry.proposals if p.problem is None)
            told = f"{entry.text}\n\n[You proposed: {kinds}.]" if kinds else entry.text
            talk.add(Reply(text=told.strip() or "(nothing)"))
