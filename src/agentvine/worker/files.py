"""Files that people send to a run: fetched into its inbox, which its programs may read."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentvine.client import Client
from agentvine.kit.errors import NotFound
from agentvine.protocol.conversations import AttachmentOut

_MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class FileFetcher:
    """One run's. What is there already is not fetched again."""

    client: Client
    execution_id: uuid.UUID
    order_id: uuid.UUID
    fence: int
    inbox: Path

    async def with_files(self, text: str, files: Sequence[AttachmentOut]) -> str:
        """A text for the run, with where the files are that came with it.

        Raises:
            AppError: The server could not be asked.
            OSError: They could not be written.
        """
        if not files:
            return text
        lines = [await self._fetch(file) for file in files]
        return "\n".join([text, "", "Files that came with it:", *lines]).strip()

    async def _fetch(self, file: AttachmentOut) -> str:
        about = f"{file.file_type}, {file.size} bytes"
        path = self.inbox / "files" / _name_of(file)
        if not path.exists():
            try:
                content = await self.client.questions.attachment_of_run(
                    self.execution_id, file.id, order_id=self.order_id, fence=self.fence
                )
            except NotFound:
                return f"- {file.file_name} ({about}): it is gone from the server"
            await asyncio.to_thread(_write, path, content)
        return f"- {path} ({about})"


def _name_of(file: AttachmentOut) -> str:
    # Whatever a server says, it is one name in this folder; two of the same name are told apart.
    last = PurePosixPath(file.file_name.replace("\\", "/")).name.lstrip(".")
    plain = "".join(each if each.isalnum() or each in "._-" else "_" for each in last)
    return f"{file.id.hex[-8:]}-{plain[-_MAX_NAME:] or 'file'}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.part")
    draft.write_bytes(content)
    draft.replace(path)
