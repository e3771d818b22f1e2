"""Repositories behind HTTPS, served by git's own CGI program on loopback."""

import base64
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.repositories import ENVIRONMENT
from tests.support.tls import make_certificates

USER, PASSWORD = "vine", "a-token-of-the-test"


class GitServer:
    """All repositories of a folder, for who knows the password where there is one."""

    def __init__(self, folder: Path, work: Path, *, is_private: bool) -> None:
        self.certificates = make_certificates(work, "localhost")
        self.is_private = is_private
        self.folder = folder
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.answer(self)

            def do_POST(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has there
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificates.certificate, self.certificates.key)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)

    @property
    def address(self) -> str:
        return f"https://localhost:{self.http.server_address[1]}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Let git answer one request."""
        body = self._read_body(request)
        expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.is_private and request.headers["Authorization"] != f"Basic {expected}":
            request.send_response(401)
            request.send_header("WWW-Authenticate", 'Basic realm="git"')
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        target = urlsplit(request.path)
        done = subprocess.run(
            ["git", "http-backend"],
            env={
                **ENVIRONMENT,
                "GIT_PROJECT_ROOT": str(self.folder),
                "GIT_HTTP_EXPORT_ALL": "1",
                "REMOTE_USER": USER,
                "REMOTE_ADDR": "127.0.0.1",
                "REQUEST_METHOD": request.command,
                "PATH_INFO": target.path,
                "QUERY_STRING": target.query,
                "CONTENT_TYPE": request.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
                "CONTENT_LENGTH": str(len(body)),
            },
            input=body,
            capture_output=True,
            check=False,
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        request.send_response(int(fields.pop("Status", "200").split(" ")[0]))
        for name, value in fields.items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _read_body(self, request: BaseHTTPRequestHandler) -> bytes:
        if "chunked" not in request.headers.get("Transfer-Encoding", ""):
            return request.rfile.read(int(request.headers.get("Content-Length") or 0))
        body = b""
        while size := int(request.rfile.readline(), 16):
            body += request.rfile.read(size)
            request.rfile.readline()
        request.rfile.readline()
        return body


@contextmanager
def running_git_server(
    folder: Path, work: Path, *, is_private: bool = False
) -> Iterator[GitServer]:
    """Serve the repositories of a folder until the block ends."""
    server = GitServer(folder, work, is_private=is_private)
    thread = threading.Thread(target=server.http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join(timeout=10)


def write_netrc(home: Path) -> None:
    """Let programs of this home know the password."""
    path = home / ".netrc"
    path.touch(mode=0o600)
    path.write_text(f"machine localhost login {USER} password {PASSWORD}\n")
