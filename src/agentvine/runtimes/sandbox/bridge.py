"""Inside the sandbox: a TCP port on loopback that leads to the egress proxy's Unix socket.

Started by path with ``python -I -S``; it imports nothing of ours. Arguments: the port, the socket,
and the program's command line. The program is this very process; the bridge is its child, and
ends with the sandbox.
"""

import os
import socket
import sys
import threading

_CHUNK = 64 * 1024


def main() -> None:
    """Listen, leave a child behind that relays, and become the program."""
    port, target, argv = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    server = socket.create_server(("127.0.0.1", port))
    if os.fork() == 0:  # lint: allow AV011 (inside the sandbox, without our code)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        while True:
            client, _ = server.accept()
            threading.Thread(target=_serve, args=(client, target), daemon=True).start()
    server.close()
    # lint: allow AV011 (the program takes this one's place)
    os.execvp(argv[0], argv)  # noqa: S606 - that is what we are for


def _serve(client: socket.socket, target: str) -> None:
    proxy = socket.socket(socket.AF_UNIX)
    try:
        proxy.connect(target)
    except OSError:
        client.close()
        return
    upward = threading.Thread(target=_relay, args=(client, proxy), daemon=True)
    upward.start()
    _relay(proxy, client)
    upward.join()
    client.close()
    proxy.close()


def _relay(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        # One side is gone: so is the connection.
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


if __name__ == "__main__":
    main()
