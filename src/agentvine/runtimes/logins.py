"""Where agents' programs keep the logins of the worker's user, and how to come by one."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentvine.config.settings import environment_for_child
from agentvine.kit.process import ExitReason
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.base import LoginState, RunContext, RunFailure, RunOutcome

_PROVIDER = (
    "Set up a provider of models on the server (`agentvine provider add anthropic --kind anthropic`"
    " is one), or {how}."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLogin:
    """How one agent's program reaches a model by itself, without keys of ours."""

    agent: str
    """The agent as people call it."""
    folder: str
    """Where it keeps its settings, below the user's home."""
    folder_variable: str | None = None
    """The variable by which the user may have put that folder elsewhere."""
    file: str | None = None
    """In the folder: there when its user is logged in."""
    keys: tuple[str, ...] = ()
    """Variables of the worker's of which each is enough; they are handed on to the program."""
    beside: tuple[str, ...] = ()
    """Variables that are handed on with a key."""
    how: str
    """What to do about it, to go on with "or": a sentence's second half."""
    is_sure: bool = True
    """Whether there is no other way in than these: else its absence proves nothing."""

    def state(self) -> LoginState:
        """Whether there is one, as far as can be seen without asking a provider."""
        if self.variables() or (self.path is not None and self.path.is_file()):
            return LoginState.READY
        return LoginState.MISSING if self.is_sure else LoginState.UNKNOWN

    def variables(self) -> dict[str, str]:
        """What the worker's user has set for it; nothing where no key is among it."""
        ours = environment_for_child((*self.keys, *self.beside))
        if not any(ours.get(name) for name in self.keys):
            return {}
        return {name: ours[name] for name in (*self.keys, *self.beside) if ours.get(name)}

    @property
    def place(self) -> Path:
        """The folder of the worker's user."""
        variable = self.folder_variable or ""
        moved = environment_for_child((variable,)).get(variable)
        return Path(moved) if moved else Path.home() / self.folder

    @property
    def path(self) -> Path | None:
        """The file that tells of a login."""
        return self.place / self.file if self.file else None

    @property
    def help(self) -> str:
        """What to do where there is none, and no provider either."""
        return _PROVIDER.format(how=self.how)


OPENAI_ADDRESS = "https://api.openai.com/v1"
"""Where a key of OpenAI's is for; said, so that no file of a repository's says otherwise."""
CLAUDE_LOGIN = OwnLogin(
    agent="Claude Code",
    folder=".claude",
    folder_variable="CLAUDE_CONFIG_DIR",
    file=".credentials.json",
    keys=("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY"),
    how=(
        "log in on the worker's machine (`claude`, then /login), or start the worker with "
        "CLAUDE_CODE_OAUTH_TOKEN (`claude setup-token` makes one) or ANTHROPIC_API_KEY set"
    ),
)
CODEX_LOGIN = OwnLogin(
    agent="Codex",
    folder=".codex",
    folder_variable="CODEX_HOME",
    file="auth.json",
    keys=("CODEX_API_KEY", "OPENAI_API_KEY"),
    how=(
        "log in on the worker's machine (`codex login`), or start the worker with CODEX_API_KEY or "
        "OPENAI_API_KEY set"
    ),
)
QWEN_LOGIN = OwnLogin(
    agent="Qwen Code",
    folder=".qwen",
    keys=("OPENAI_API_KEY",),
    beside=("OPENAI_BASE_URL", "OPENAI_MODEL"),
    how="start the worker with OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL set",
)
OPENCODE_LOGIN = OwnLogin(
    agent="opencode",
    folder=".local/share/opencode",
    file="auth.json",
    how="log in on the worker's machine (`opencode auth login`)",
    # It has models of its own for those without.
    is_sure=False,
)
GEMINI_LOGIN = OwnLogin(
    agent="Gemini CLI",
    folder=".gemini",
    file="oauth_creds.json",
    keys=("GEMINI_API_KEY",),
    how="start the worker with GEMINI_API_KEY set",
    # It may keep a key in the system's own store.
    is_sure=False,
)
_LIBRARY_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")
_BY_KEY = "start the worker with OPENAI_API_KEY or ANTHROPIC_API_KEY set"
MINI_LOGIN = OwnLogin(
    agent="mini-swe-agent", folder=".config/mini-swe-agent", keys=_LIBRARY_KEYS, how=_BY_KEY
)
AIDER_LOGIN = OwnLogin(agent="aider", folder=".aider", keys=_LIBRARY_KEYS, how=_BY_KEY)
ALL_LOGINS = (
    CLAUDE_LOGIN,
    CODEX_LOGIN,
    QWEN_LOGIN,
    OPENCODE_LOGIN,
    GEMINI_LOGIN,
    MINI_LOGIN,
    AIDER_LOGIN,
)


def link_login(login: OwnLogin, folder: Path, *, is_wanted: bool) -> None:
    """Let a run's own settings show the login of the worker's user, or not any more."""
    if login.path is None or login.file is None:
        return
    linked = folder / login.file
    if linked.is_symlink():
        linked.unlink()
    if is_wanted and login.path.is_file():
        with suppress(FileExistsError):
            linked.symlink_to(login.path)


def no_way_to_a_model(context: RunContext, login: OwnLogin) -> RunOutcome:
    """How a run ends for which there is neither a provider nor a login."""
    told = [f"{login.agent} has no way to a model."]
    if context.models_problem:
        told += [context.models_problem, f"Or {login.how}."]
    else:
        told.append(login.help)
    message = " ".join(told)
    return RunOutcome(
        reason=ExitReason.EXITED,
        exit_code=None,
        duration_seconds=0.0,
        message=message,
        failure=RunFailure(FailureClass.AUTH_FAILED, message),
        told_result=False,
    )
