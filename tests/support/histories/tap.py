"""What a proxy sees of a connection, read as HTTP: which messages were sent, and what was answered.

The facts are those of ``messages``. A message counts from when it was passed on to the server, and
its answer from when the server gave it, whether or not anybody hears of it.
"""

import json
import time
from contextlib import suppress

import h11

from tests.support.histories.history import History
from tests.support.histories.messages import Message

_EVENTS = (h11.Request, h11.InformationalResponse, h11.Response, h11.Data, h11.EndOfMessage)
_TOLD_OF = ("tasks", "claim", "heartbeat", "complete", "fail", "release", "logs")


class Tap:
    """One connection, from its first byte on."""

    def __init__(self, history: History, node: str) -> None:
        """Tell this history of what that node says and hears."""
        self._history = history
        self._node = node
        # Each is shown what the other has read, so that both know where a message ends.
        self._asked = h11.Connection(h11.SERVER)
        self._answered = h11.Connection(h11.CLIENT)
        self._is_readable = True
        self._path = ""
        self._sent_at = 0.0
        self._bodies = {self._asked: b"", self._answered: b""}
        self._status = 0

    def passed_on(self, chunk: bytes) -> None:
        """Bytes that go to the server now."""
        self._read(self._asked, self._answered, chunk)

    def answered(self, chunk: bytes) -> None:
        """Bytes that the server has given."""
        self._read(self._answered, self._asked, chunk)

    def _read(self, side: h11.Connection, other: h11.Connection, chunk: bytes) -> None:
        if not self._is_readable:
            return
        try:
            side.receive_data(chunk)
            while isinstance(event := side.next_event(), _EVENTS):
                self._note(side, event)
                other.send(event)
                if side.our_state is h11.DONE and side.their_state is h11.DONE:
                    side.start_next_cycle()
                    other.start_next_cycle()
        except h11.ProtocolError:
            # Half a message at a cut, or an answer that nobody waits for: no fact.
            self._is_readable = False

    def _note(self, side: h11.Connection, event: object) -> None:
        if isinstance(event, h11.Request):
            self._path = event.target.decode().partition("?")[0]
            self._bodies[side] = b""
            if event.method != b"POST":
                self._path = ""
        elif isinstance(event, h11.Response):
            self._status = event.status_code
            self._bodies[side] = b""
        elif isinstance(event, h11.Data):
            self._bodies[side] += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            if side is self._asked:
                self._sent_at = time.time()
            else:
                self._tell()

    def _tell(self) -> None:
        if self._path.rpartition("/")[2] not in _TOLD_OF:
            return
        asked = json.loads(self._bodies[self._asked] or b"{}")
        answer = {}
        if self._status in (200, 201):
            answer = json.loads(self._bodies[self._answered])
        message = Message(self._path, asked, self._status, answer)
        with suppress(KeyError):  # a refusal that was not our protocol's
            for kind, facts in message.meaning():
                facts |= {"worker": self._node, "sent_at": self._sent_at}
                self._history.add(time.time(), kind, **facts)
