"""Bytes in, log lines out: whatever a program prints becomes text that a database can keep."""

import codecs


class LineSplitter:
    r"""Cuts a stream of bytes into lines of bounded length.

    Lines end at ``\n`` or ``\r\n``. Bytes that are not UTF-8 become U+FFFD, so no surrogate ever
    appears, and NUL is dropped because PostgreSQL refuses it. A longer line comes in parts of at
    most ``max_line_bytes``, as UTF-8; a character is never split. A line without its end stays
    inside until ``flush`` or ``finish``: when to call ``flush`` is the caller's choice.
    """

    def __init__(self, max_line_bytes: int = 16 * 1024) -> None:
        """Start with an empty line.

        Args:
            max_line_bytes: The longest line to give out; at least 4, so that any character fits.
        """
        if max_line_bytes < 4:
            raise ValueError("a line must be able to hold any one character: 4 bytes")
        self._max_line_bytes = max_line_bytes
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._has_given_part = False
        """Whether a part of the current line is out already: its end then adds no empty line."""

    def feed(self, chunk: bytes) -> list[str]:
        """Take in the next bytes, and give out the lines that are complete."""
        return self._take(self._decoder.decode(chunk))

    def flush(self) -> list[str]:
        """Give out the incomplete line, except what may still be half of something.

        A character whose bytes are not all there stays inside, and so does a carriage return,
        which may be the first half of a line's end.
        """
        text = self._rest.removesuffix("\r")
        self._rest = self._rest[len(text) :]
        if not text:
            return []
        self._has_given_part = True
        return [text]

    def finish(self) -> list[str]:
        """Give out everything that is left; the stream has ended."""
        lines = self._take(self._decoder.decode(b"", final=True))
        lines += self.flush()
        self._rest = ""
        return lines

    def _take(self, text: str) -> list[str]:
        *complete, self._rest = (self._rest + text.replace("\0", "")).split("\n")
        lines: list[str] = []
        for line in complete:
            parts = self._parts(line.removesuffix("\r"))
            if parts[-1] or not self._has_given_part:
                lines += parts
            else:
                lines += parts[:-1]
            self._has_given_part = False
        *early, self._rest = self._parts(self._rest)
        if early:
            self._has_given_part = True
            lines += early
        return lines

    def _parts(self, line: str) -> list[str]:
        # No character takes more than four bytes: most lines are seen to fit without encoding.
        if len(line) * 4 <= self._max_line_bytes:
            return [line]
        data = line.encode()
        parts: list[str] = []
        start = 0
        while len(data) - start > self._max_line_bytes:
            end = start + self._max_line_bytes
            while data[end] & 0xC0 == 0x80:  # the middle of a character
                end -= 1
            parts.append(data[start:end].decode())
            start = end
        return [*parts, data[start:].decode()]
