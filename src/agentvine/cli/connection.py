"""Which server to ask, and with which token.

In this order: ``--server`` and ``--token``; ``AGENTVINE_SERVER_URL`` and ``AGENTVINE_TOKEN``; what
``agentvine login`` saved; the server that runs on this data directory, which ``agentvine up``
describes in ``server.json`` while it runs. A server named without a token is looked up in the
later places too.
"""

from dataclasses import dataclass
from pathlib import Path

import platformdirs
from pydantic import BaseModel, Field, ValidationError

from agentvine.cli.options import GlobalOptions
from agentvine.config.local_server import LocalServer, find_local_server, write_private
from agentvine.config.settings import Settings
from agentvine.kit.errors import Unavailable


class NoServer(Unavailable):
    """No server is known."""

    code = "no_server"


@dataclass(frozen=True, slots=True)
class Connection:
    """A server and the token it is shown."""

    url: str
    token: str
    origin: str
    """Where the address was found: ``option``, ``environment``, ``login`` or ``local``."""


class Login(BaseModel):
    """One server one has signed in to."""

    token: str
    token_id: str | None = None
    username: str


class Credentials(BaseModel):
    """All servers one has signed in to, and the one that is meant when none is named."""

    current: str | None = None
    servers: dict[str, Login] = Field(default_factory=dict[str, Login])


def find_connection(settings: Settings, options: GlobalOptions) -> Connection:
    """The server to ask.

    Raises:
        NoServer: None is named, and none runs here.
    """
    saved = read_credentials()
    local = find_local_server(settings.data_dir)
    named = options.server or settings.server_url
    given = options.token or settings.token.get_secret_value()
    if named:
        url, origin = named.rstrip("/"), "option" if options.server else "environment"
    elif saved.current:
        url, origin = saved.current, "login"
    elif local is not None:
        url, origin = local.url, "local"
    else:
        raise NoServer(
            "Start one with `agentvine up`, or name another with --server, AGENTVINE_SERVER_URL "
            "or `agentvine login`."
        )
    return Connection(url, given or _token_for(url, saved, local), origin)


def _token_for(url: str, saved: Credentials, local: LocalServer | None) -> str:
    if url in saved.servers:
        return saved.servers[url].token
    return local.token if local is not None and local.url == url else ""


def credentials_path() -> Path:
    """Where sign-ins are kept, for this user only."""
    return platformdirs.user_config_path("agentvine", appauthor=False) / "credentials.json"


def read_credentials() -> Credentials:
    """The saved sign-ins; none when the file is missing or not ours."""
    try:
        return Credentials.model_validate_json(credentials_path().read_bytes())
    except (OSError, ValidationError):
        return Credentials()


def write_credentials(credentials: Credentials) -> Path:
    """Keep sign-ins, readable by this user alone."""
    path = credentials_path()
    write_private(path, credentials.model_dump())
    return path
