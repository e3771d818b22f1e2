"""Settings of every part, read once at the entry points and passed on; nothing here is global.

Environment variables are ``AGENTVINE_<NAME>``; nested ones use two underscores
(``AGENTVINE_QUEUE__LEASE_SECONDS``). ``DATABASE_URL`` is accepted where
``AGENTVINE_DATABASE_URL`` is not set, and ``AGENTVINE_SECRET_KEY_FILE``,
``AGENTVINE_DATABASE_URL_FILE`` and ``AGENTVINE_TOKEN_FILE`` name files, for containers. Every
problem is reported at once.
"""

import os
import secrets
import stat
from pathlib import Path
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from agentvine.config.channels import EmailSettings, NotificationSettings, TelegramSettings
from agentvine.kit.errors import Invalid
from agentvine.kit.process import ContainmentLevel

FILE_VARIANTS = ("SECRET_KEY", "DATABASE_URL", "TOKEN")
"""What may also be given by the name of a file, as ``AGENTVINE_<NAME>_FILE``."""
_MIN_SECRET_LENGTH = 32


class SettingsError(Invalid):
    """The settings are wrong."""

    code = "settings_invalid"


class DatabaseSettings(BaseModel):
    """How to reach the database, with the driver already chosen."""

    model_config = ConfigDict(frozen=True)

    url: str
    """SQLAlchemy URL: ``sqlite+aiosqlite:///path`` or ``postgresql+asyncpg://...``."""
    pool_size: int = 10
    max_overflow: int = 10
    direct_connections: int = 8
    """PostgreSQL connections beside the pool, for the queue's single statements."""
    pool_timeout_seconds: float = 10.0
    statement_timeout_seconds: float = 30.0
    lock_timeout_seconds: float = 5.0
    idle_in_transaction_timeout_seconds: float = 60.0
    sqlite_synchronous: str = "FULL"
    backup_dir: Path | None = None
    application_name: str = "agentvine"
    redis_url: str = ""
    """Where hints go between servers on PostgreSQL; empty: through the database itself."""


class QueueSettings(BaseModel):
    """Numbers of the work queue; durations in seconds."""

    model_config = ConfigDict(frozen=True)

    lease_seconds: float = Field(default=60.0, gt=0)
    """How long a claim is good without a beat; a dead worker's order waits at most so long."""
    heartbeat_seconds: float = Field(default=20.0, gt=0)
    """How often workers beat; at most half of a lease."""
    long_poll_seconds: float = Field(default=30.0, ge=0, le=55)
    """How long a worker's claim waits for an order; keep it below the time-out of a proxy."""
    poll_interval_seconds: float = Field(default=1.5, gt=0)
    """How often the server looks by itself, should a hint get lost."""
    retry_base_seconds: float = Field(default=5.0, ge=0)
    """The pause before the first retry; it doubles with each."""
    retry_cap_seconds: float = Field(default=600.0, ge=0)
    """The longest pause before a retry."""
    retry_jitter: float = Field(default=0.2, ge=0, le=1)
    """By which part pauses are made shorter or longer at random."""
    rate_limit_delay_seconds: float = Field(default=60.0, gt=0)
    """How long to wait after a rate limit whose end the provider did not tell."""
    quota_delay_seconds: float = Field(default=3600.0, gt=0)
    """The same for a quota that is used up."""
    poison_after_losses: int = Field(default=3, ge=1)
    """An order fails when so many of its workers were lost in a row."""
    ageing_step_seconds: float = Field(default=600.0, gt=0)
    """What one step of priority is worth in waiting time."""

    @model_validator(mode="after")
    def _beats_fit_in_the_lease(self) -> Self:
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("heartbeat_seconds must be at most half of lease_seconds")
        return self


class QuestionSettings(BaseModel):
    """What becomes of questions that nobody answers."""

    model_config = ConfigDict(frozen=True)

    expire_seconds: float = Field(default=0.0, ge=0)
    """How long a question is open unless it says otherwise itself; 0: until it is answered."""
    on_expiry: Literal["deny", "default", "fail", "wait"] = "deny"
    """What happens then: it is denied, its default option is the answer, the run fails, or it
    stays open."""
    advice_seconds: float = Field(default=120.0, gt=0)
    """How long a language model may think about a question before a person is asked."""


class WorkerSettings(BaseModel):
    """What all runs of a worker are held to, whatever a task or repository asks for."""

    model_config = ConfigDict(frozen=True)

    minimum_containment: ContainmentLevel | None = None
    """The weakest that may hold a run's processes: ``namespace``, ``cgroup``, ``subreaper`` or
    ``group``. A worker on a machine that allows only weaker ones does not start. The strongest
    that the machine allows is taken in any case."""
    memory_mib: int | None = Field(default=None, ge=1, le=2**24)
    """The most memory that all processes of a run may hold together."""
    processes: int | None = Field(default=None, ge=1, le=100_000)
    """The most processes of a run."""
    cpu_seconds: int | None = Field(default=None, ge=1, le=10**8)
    """The most processor time of a run."""
    file_mib: int | None = Field(default=None, ge=1, le=2**24)
    """The largest single file that a run may write."""
    disk_mib: int | None = Field(default=None, ge=1, le=2**24)
    """How much a run's work tree may grow to."""
    max_log_mib: int = Field(default=64, ge=1, le=2**14)
    """Output kept of one run: its beginning and its end; what was between is counted."""
    cache_mib: int = Field(default=4096, ge=0, le=2**24)
    """What set-up commands have made, kept to be copied into later work trees; 0 keeps nothing."""
    leftover_days: float = Field(default=14.0, ge=0, le=36500)
    """How long work trees of dead workers are kept unused; then what is in them goes under a rescue
    ref, and they are removed. Mirrors are kept as long, and longer while they hold what their
    repository has not. 0 keeps all for good."""
    answer_wait_seconds: float = Field(default=900.0, ge=0)
    """How long a run that has asked something keeps its slot; then it ends, and the task goes on
    when the answer is there."""


class ProviderSettings(BaseModel):
    """Providers of models: keys that the server is started with, and which addresses it calls.

    A key is also taken from the variable that its provider's own tools read.
    """

    model_config = ConfigDict(frozen=True)

    anthropic_api_key: SecretStr = SecretStr("")
    """Makes the provider ``anthropic-env``; ``ANTHROPIC_API_KEY`` when not set."""
    anthropic_base_url: str = ""
    """Where it is used; ``ANTHROPIC_BASE_URL`` when not set."""
    openai_api_key: SecretStr = SecretStr("")
    """Makes the provider ``openai-env``; ``OPENAI_API_KEY`` when not set."""
    openai_base_url: str = ""
    """Where it is used, with ``/v1``; ``OPENAI_BASE_URL`` when not set."""
    gemini_api_key: SecretStr = SecretStr("")
    """Makes the provider ``gemini-env``; ``GEMINI_API_KEY`` when not set."""
    gemini_base_url: str = ""
    """Where it is used; ``GOOGLE_GEMINI_BASE_URL`` when not set."""
    allow_private: bool = False
    """Whether owners of projects may name providers in private networks; admins always may."""

    def given_keys(self) -> list[tuple[str, str, SecretStr]]:
        """Kind, address (empty: the usual one) and key of each that is given."""
        found = [
            ("anthropic", self.anthropic_base_url, self.anthropic_api_key),
            ("openai", self.openai_base_url, self.openai_api_key),
            ("gemini", self.gemini_base_url, self.gemini_api_key),
        ]
        return [entry for entry in found if entry[2].get_secret_value().strip()]


PLAIN_PROVIDER_VARIABLES = {
    "anthropic_api_key": "ANTHROPIC_API_KEY",
    "anthropic_base_url": "ANTHROPIC_BASE_URL",
    "openai_api_key": "OPENAI_API_KEY",
    "openai_base_url": "OPENAI_BASE_URL",
    "gemini_api_key": "GEMINI_API_KEY",
    "gemini_base_url": "GOOGLE_GEMINI_BASE_URL",
}
"""What the providers' own tools read, for what is not set under our names."""


class Settings(BaseSettings):
    """Everything the environment can say."""

    model_config = SettingsConfigDict(
        env_prefix="AGENTVINE_", env_nested_delimiter="__", frozen=True, extra="ignore"
    )

    data_dir: Path = Path()
    """Where SQLite, keys, mirrors and worktrees live; the user's data directory when not set."""
    database_url: str = ""
    """``sqlite:///path`` or ``postgresql://user:pw@host:5432/db``; a SQLite file in the data
    directory when not set."""
    database_pool_size: int = Field(default=10, ge=1)
    """Connections that a server keeps open."""
    database_max_overflow: int = Field(default=10, ge=0)
    """Connections beyond these, opened when all are in use."""
    sqlite_synchronous: str = Field(default="FULL", pattern="^(FULL|NORMAL)$")
    """``FULL``: what was acknowledged survives a power cut. ``NORMAL``: faster, and it may not."""
    secret_key: SecretStr = SecretStr("")
    """Seals stored secrets: at least 32 characters, the same for all servers of a database. Made
    and kept in the data directory (``secret.key``) when not set."""
    redis_url: str = Field(default="", pattern="^$|^(redis|rediss|unix)://.+")
    """``redis://host:6379``: by which servers on PostgreSQL wake each other; nothing is kept."""
    server_url: str = ""
    """The server that commands and workers ask."""
    token: SecretStr = SecretStr("")
    """What they show it."""
    gateway_url: str = Field(default="", pattern="^$|^https?://.+")
    """Where workers find an ``agentvine gateway`` of its own; the server is theirs when not set."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """The least that servers and workers write to standard error; ``agentvine up`` begins with
    WARNING when not set."""
    log_json: bool = False
    """Whether they write JSON, one object a line."""
    bcrypt_rounds: int = Field(default=12, ge=4, le=16)
    """What it costs to check a password; each step doubles it."""
    max_request_bytes: int = Field(default=80 * 1024 * 1024, ge=1024)
    """The largest body the server reads; a bundle of commits takes up to 64 MiB."""
    repository_roots: tuple[Path, ...] = ()
    """Folders of the server's machine under which any developer may register repositories: a
    JSON list. Others need an admin."""
    queue: QueueSettings = QueueSettings()
    """Numbers of the work queue."""
    questions: QuestionSettings = QuestionSettings()
    """What becomes of questions that nobody answers."""
    worker: WorkerSettings = WorkerSettings()
    """What all runs of a worker are held to."""
    providers: ProviderSettings = ProviderSettings()
    """Providers of models."""
    notifications: NotificationSettings = NotificationSettings()
    """How notifications are sent."""
    email: EmailSettings = EmailSettings()
    """The mail server that takes notifications."""
    telegram: TelegramSettings = TelegramSettings()
    """The Telegram bot that writes them."""
    keep_call_bodies_days: float = Field(default=0.0, ge=0, le=3650)
    """How long the gateway keeps what is said in calls to models, secrets masked; 0: not at all."""
    time_zone: str = "UTC"
    """Whose midnight ends the days, weeks and months of budgets, like Europe/Berlin."""

    @field_validator("time_zone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("no time zone of this machine; like Europe/Berlin, or UTC") from error
        return name

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of budgets."""
        return ZoneInfo(self.time_zone)

    @property
    def is_database_named(self) -> bool:
        """Whether somebody chose a database; otherwise it is the file in the data directory."""
        return self.database_url != _default_database_url(self.data_dir)

    @property
    def database(self) -> DatabaseSettings:
        """The database part, with the driver added to the URL."""
        return DatabaseSettings(
            url=normalise_database_url(self.database_url),
            pool_size=self.database_pool_size,
            max_overflow=self.database_max_overflow,
            sqlite_synchronous=self.sqlite_synchronous,
            redis_url=self.redis_url,
            backup_dir=self.data_dir / "backups",
        )


def load_settings(**overrides: Any) -> Settings:
    """Read the environment; explicit overrides win over it.

    Raises:
        SettingsError: One error that lists every problem found.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    problems: list[str] = []
    for name in FILE_VARIANTS:
        field = name.lower()
        if field not in given and (text := _read_file_variant(name, problems)):
            given[field] = text
    if "database_url" not in given and not os.environ.get("AGENTVINE_DATABASE_URL"):
        given["database_url"] = os.environ.get("DATABASE_URL", "")
    if not given.get("data_dir") and not os.environ.get("AGENTVINE_DATA_DIR"):
        given["data_dir"] = Path(platformdirs.user_data_dir("agentvine", appauthor=False))
    if "providers" not in given:
        given["providers"] = _plain_provider_variables()
    try:
        settings = Settings(**given)
    except ValidationError as error:
        problems += [
            f"AGENTVINE_{'__'.join(str(part) for part in item['loc']).upper()}: "
            + item["msg"].removeprefix("Value error, ")
            for item in error.errors()
        ]
        raise _settings_error(problems) from None
    settings = _with_paths(settings)
    problems += _url_problems(settings.database_url)
    key = settings.secret_key.get_secret_value()
    if key and len(key) < _MIN_SECRET_LENGTH:
        problems.append(
            f"AGENTVINE_SECRET_KEY: shorter than {_MIN_SECRET_LENGTH} characters; make one with "
            "`openssl rand -base64 48`, or leave it out: one is made and kept in the data directory"
        )
    if problems:
        raise _settings_error(problems)
    return settings


def with_secret_key(settings: Settings) -> Settings:
    """The same settings with a secret key, made and kept (mode 0600) where none was given."""
    if settings.secret_key.get_secret_value():
        return settings
    path = settings.data_dir / "secret.key"
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48) + "\n")
    key = path.read_text().strip()
    if len(key) < _MIN_SECRET_LENGTH:
        raise SettingsError(f"{path} does not hold a usable key; restore it, or delete it.")
    return settings.model_copy(update={"secret_key": SecretStr(key)})


def _write_once(path: Path, text: str) -> None:
    """Make a private file whole or not at all; the first of two racing processes wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


def environment_for_child(keep: tuple[str, ...] = ()) -> dict[str, str]:
    """The few variables any child process needs, and those named in ``keep``, from our own."""
    allowed = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ", "SHELL", *keep)
    return {name: os.environ[name] for name in allowed if name in os.environ}


def whole_environment() -> dict[str, str]:
    """A copy of our own environment, for our own children (server and workers of ``up``)."""
    return dict(os.environ)


def _default_database_url(data_dir: Path) -> str:
    return f"sqlite:///{data_dir / 'agentvine.db'}"


def normalise_database_url(url: str) -> str:
    """Add our driver to a plain ``sqlite:`` or ``postgresql:`` URL; others pass unchanged."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    base = scheme.split("+", 1)[0]
    if base in ("postgresql", "postgres"):
        return f"postgresql+asyncpg://{rest}"
    if base == "sqlite":
        return f"sqlite+aiosqlite://{rest}"
    return url


def _plain_provider_variables() -> dict[str, str]:
    return {
        field: os.environ[variable]
        for field, variable in PLAIN_PROVIDER_VARIABLES.items()
        if os.environ.get(variable) and f"AGENTVINE_PROVIDERS__{field.upper()}" not in os.environ
    }


def _with_paths(settings: Settings) -> Settings:
    data_dir = settings.data_dir.expanduser().absolute()
    url = settings.database_url or _default_database_url(data_dir)
    return settings.model_copy(update={"data_dir": data_dir, "database_url": url})


def _url_problems(url: str) -> list[str]:
    scheme = url.partition("://")[0].split("+", 1)[0]
    if scheme in ("sqlite", "postgresql", "postgres"):
        if scheme == "sqlite" and url.partition("://")[2] in ("", "/", "/:memory:"):
            return ["AGENTVINE_DATABASE_URL: SQLite needs a file, like sqlite:///agentvine.db"]
        return []
    told = f"AGENTVINE_DATABASE_URL: starts with {scheme or 'nothing'!r}; "
    return [told + "write sqlite:///path or postgresql://user:password@host:5432/database"]


def _read_file_variant(name: str, problems: list[str]) -> str:
    variable = f"AGENTVINE_{name}_FILE"
    path = os.environ.get(variable, "")
    if not path:
        return ""
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        problems.append(f"{variable}: {path} cannot be read ({error.strerror})")
        return ""


def _settings_error(problems: list[str]) -> SettingsError:
    lines = "\n".join(f"  - {problem}" for problem in problems)
    return SettingsError(f"Fix these settings and start again:\n{lines}", problems=problems)
