"""Files that come with messages: kept first, named then, collected when nobody names them."""

import asyncio
import re
import unicodedata
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.conversations import queries, service
from agentvine.domains.conversations.errors import AttachmentNotFound, AttachmentRefused
from agentvine.domains.conversations.models import ChatAttachment, MessageAttachment
from agentvine.domains.conversations.storage import AttachmentStore, KeptFile
from agentvine.kit.actor import UserActor

T = TypeVar("T")

_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,49}/[a-z0-9][a-z0-9!#$&^_.+-]{0,49}", re.ASCII)
_ACTIVE = re.compile(
    r"text/html|application/xhtml\+xml|image/svg\+xml|.*[/+]xml|.*(?:java|ecma)script"
    r"|application/(?:x-msdownload|x-msdos-program|x-executable|x-sh|java-archive|wasm|hta)"
)
"""What a browser or a system might run; a person who must send it, sends an archive."""
_UNUSED_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class AttachmentDesk:
    """Takes files in, hands them out, and collects those that nobody names."""

    database: Database
    store: AttachmentStore

    async def attach(
        self,
        actor: UserActor,
        place: tuple[uuid.UUID, uuid.UUID],
        *,
        name: str,
        type_: str,
        content: bytes,
    ) -> MessageAttachment:
        """Keep a file with a message.

        Args:
            actor: Who has said the message.
            place: The ids of the conversation and the message.
            name: What the sender calls it; folders are taken off.
            type_: Of what kind the sender says it is.
            content: All of it; its size was looked at.

        Raises:
            AttachmentRefused: It is of a kind that might be run.
            AppError: As for ``service.attach``.
        """

        async def name_it(kept: KeptFile) -> MessageAttachment:
            row = MessageAttachment(
                file_name=kept.file_name,
                file_type=kept.file_type,
                size=kept.size,
                sha256=kept.sha256,
            )
            async with self.database.transaction(actor) as tx:
                conversation = await queries.get_conversation_for_change(tx, actor, place[0])
                message = await queries.get_message(tx, conversation, place[1])
                return await service.attach(tx, actor, conversation, message, row)

        return await self.take_in(name_it, name=name, type_=type_, content=content)

    async def take_in(
        self, name_it: Callable[[KeptFile], Awaitable[T]], *, name: str, type_: str, content: bytes
    ) -> T:
        """Keep a file, and let it be named by a row in a transaction of its own.

        Raises:
            AttachmentRefused: It is of a kind that might be run.
        """
        plain, checked = plain_name(name), checked_type(type_)
        digest = await asyncio.to_thread(self.store.keep, content)
        named = await name_it(KeptFile(plain, checked, len(content), digest))
        if not await asyncio.to_thread(self.store.has, digest):
            # Collected between the two steps, as nobody had named it yet.
            await asyncio.to_thread(self.store.keep, content)
        return named

    async def read(self, sha256: str) -> bytes:
        """A file's content, by the hash in its row.

        Raises:
            AttachmentNotFound: The data directory does not have it any more.
        """
        try:
            return await asyncio.to_thread(self.store.path_of(sha256).read_bytes)
        except FileNotFoundError as error:
            raise AttachmentNotFound(
                "Its file is gone from the server's data directory; send it again."
            ) from error

    async def collect(self) -> int:
        """Remove files that no message names. Returns how many."""
        count = 0
        oldest = self.database.clock.now().timestamp() - _UNUSED_SECONDS
        for names in await asyncio.to_thread(lambda: list(self.store.not_sent_since(oldest))):
            async with self.database.read() as read:
                said = select(MessageAttachment.sha256).where(MessageAttachment.sha256.in_(names))
                of_runs = select(ChatAttachment.file_path).where(
                    ChatAttachment.file_path.in_(names)
                )
                used = {*await read.scalars(said), *await read.scalars(of_runs)}
            unused = [name for name in names if name not in used]
            count += await asyncio.to_thread(self.store.forget_unused, unused, oldest)
        return count


def plain_name(name: str) -> str:
    """The last part of a path, without what is no letter to be seen; never empty."""
    last = re.split(r"[/\\]", name)[-1]
    seen = "".join(each for each in last if unicodedata.category(each)[0] != "C").strip(". ")
    return seen[:255] or "file"


def checked_type(type_: str) -> str:
    """A media type without its parameters.

    Raises:
        AttachmentRefused: It is of a kind that might be run.
    """
    plain = type_.partition(";")[0].strip().lower() or "application/octet-stream"
    if not _TYPE.fullmatch(plain):
        raise AttachmentRefused("The Content-Type is none; application/octet-stream always is one.")
    if _ACTIVE.fullmatch(plain):
        raise AttachmentRefused(f"{plain} may be run by who opens it; put it into an archive.")
    return plain
