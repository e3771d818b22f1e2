"""Files over HTTP: taken in with a limit, handed out so that nothing runs them."""

from urllib.parse import quote

from fastapi import Request, Response

from agentvine.kit.errors import TooLarge
from agentvine.protocol.conversations import MAX_ATTACHMENT_BYTES


class AttachmentTooLarge(TooLarge):
    """The file is too large."""

    code = "attachment_too_large"


async def read_file(request: Request) -> bytes:
    """A request's body.

    Raises:
        AttachmentTooLarge: It has more bytes than a file may have.
    """
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_ATTACHMENT_BYTES:
            raise AttachmentTooLarge(f"A file may have {MAX_ATTACHMENT_BYTES // 2**20} MiB.")
        parts.append(part)
    return b"".join(parts)


def file_response(name: str, content: bytes) -> Response:
    """A file to be saved: no browser shows or runs it, whatever it is."""
    return Response(
        content,
        media_type="application/octet-stream",
        headers={
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name)}",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )
