"""Inside the sandbox: TCP ports on loopback that lead to Unix sockets of the worker's.

Started by path with ``python -I -S``; it imports nothing of ours. Arguments: ports with their
sockets, as ``PORT=PATH,PORT=PATH``, and the program's command line. The program is this very
process; the bridge is its child, and ends with the sandbox.
"""

import os
import socket
import sys
import threading

_CHUNK = 64 * 1024


def main() -> None:
    """Listen, leave a child behind that relays, and become the program."""
    argv = sys.argv[2:]
    pairs = [pair.split("=", 1) for pair in sys.argv[1].split(",")]
    servers = [(socket.create_server(("127.0.0.1", int(port))), path) for port, path in pairs]
    if os.fork() == 0:  # lint: allow AV011 (inside the sandbox, without our code)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        for pair in servers[1:]:
            threading.Thread(target=_accept, args=pair, daemon=True).start()
        _accept(*servers[0])
    for server, _ in servers:
        server.close()
    # lint: allow AV011 (the program takes this one's place)
    os.execvp(argv[0], argv)  # noqa: S606 - that is what we are for


def _accept(server: socket.socket, target: str) -> None:
    while True:
        client, _ = server.accept()
        threading.Thread(target=_serve, args=(client, target), daemon=True).start()


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
