"""The socket on which a server listens."""

import socket

from agentvine.server.listening import listen


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_first_part():
    listener = listen("127.0.0.1", 0)
    listener.listen()
    with listener, socket.create_connection(listener.getsockname()[:2]):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
