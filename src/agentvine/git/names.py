"""Names that come from outside: references, commit ids, addresses. Checked before git sees them."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from agentvine.git.errors import CommitIdInvalid, RefNameInvalid, RepositoryUrlInvalid

RESCUE_PREFIX = "refs/agentvine/rescue/"
"""Where results are kept that must never be lost, one reference per execution."""

_COMMIT_ID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_FORBIDDEN_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_URL_SCHEMES = frozenset({"https", "ssh"})
# user@host:path, as scp writes it; the host may be a bracketed IPv6 address.
_SCP_LIKE = re.compile(
    r"(?:[A-Za-z0-9._~-]+@)?(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\]):(?![:-])[^\s]+"
)
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\]")
# Greedy up to the last @ before a slash: passwords may hold an @ themselves.
_CREDENTIALS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^\s/]*@")
_MAX_REF_BYTES = 240
"""File systems allow 255 bytes for a name, and git adds ``.lock``."""


def check_ref_name(name: str) -> str:
    """The name itself, when git allows it for a full reference such as ``refs/heads/main``.

    The rules of ``git check-ref-format``, and only under ``refs/``.

    Raises:
        RefNameInvalid: It is not allowed.
    """
    if name.startswith("refs/") and _has_ref_format(name):
        return name
    raise RefNameInvalid(f"{_shown(name)} cannot be the name of a reference.", name=_shown(name))


def check_branch_name(name: str) -> str:
    """The name itself, when git allows it for a branch.

    Raises:
        RefNameInvalid: It is not allowed.
    """
    if not name.startswith("-") and name != "HEAD" and _has_ref_format(f"refs/heads/{name}"):
        return name
    raise RefNameInvalid(
        f"{_shown(name)} cannot be the name of a branch: git allows no spaces, no '..', none of "
        "~^:?*[\\ and no '-' at the beginning.",
        name=_shown(name),
    )


def branch_ref(branch: str) -> str:
    """The full reference of a local branch."""
    return f"refs/heads/{check_branch_name(branch)}"


def rescue_ref(run_id: str) -> str:
    """The reference that keeps the result of an execution."""
    return check_ref_name(f"{RESCUE_PREFIX}{run_id}")


def check_commit_id(commit: str) -> str:
    """The id itself, when it is a full commit id.

    Raises:
        CommitIdInvalid: It is something else, such as a branch, an option or a short id.
    """
    if _COMMIT_ID.fullmatch(commit):
        return commit
    raise CommitIdInvalid(f"{_shown(commit)} is not a full commit id.", commit=_shown(commit))


@dataclass(frozen=True, slots=True)
class Source:
    """Where a repository is: a folder on this machine, or an address."""

    address: str
    """What git is given."""
    path: Path | None
    """The folder, when it is on this machine."""

    @property
    def shown(self) -> str:
        """The address for people's eyes, without credentials."""
        return without_credentials(self.address)


def parse_source(source: str | Path) -> Source:
    """Tell a folder from an address, and refuse what git would run a program for.

    What is no URL and has no colon before its first slash is a folder, as git has it.

    Raises:
        RepositoryUrlInvalid: It is neither, or of a kind that is not allowed.
    """
    text = str(source)
    if not text or text.startswith("-") or any(ord(char) < 0x20 for char in text):
        raise RepositoryUrlInvalid(f"{_shown(text)} is not a repository's path or address.")
    if isinstance(source, Path) or text.startswith(("/", "./", "../")) or text in {".", ".."}:
        return _folder(Path(text))
    if "://" in text:
        return _url(text)
    if ":" not in text.split("/", 1)[0]:
        return _folder(Path(text))
    # git reads ``ext::program`` as "run this program and talk to it".
    if not _SCP_LIKE.fullmatch(text):
        raise RepositoryUrlInvalid(
            f"{_shown(text)} is no address of the form git@host:path: use that, https, ssh, or a "
            "folder, written with './' if its name holds a colon."
        )
    return Source(text, None)


def without_credentials(text: str) -> str:
    """The text with the user and password of every URL in it replaced by ``***``."""
    return _CREDENTIALS.sub(r"\1***@", text)


def clean_address(address: str) -> str:
    """The address as git can still use it, with nothing secret in it.

    The user of an ssh URL is part of the way there, like the path. A password is a secret, and so
    is the user of an https URL: services take tokens in that place.
    """
    scheme, found, rest = address.partition("://")
    host, slash, path = rest.partition("/")
    user, at, place = host.rpartition("@")
    if not found or not at:
        return address
    kept = f"{user.partition(':')[0]}@" if scheme == "ssh" else ""
    return f"{scheme}://{kept}{place}{slash}{path}"


def _url(text: str) -> Source:
    shown = _shown(without_credentials(text))
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise RepositoryUrlInvalid(f"{shown} is not a well-formed URL.") from error
    if parts.scheme == "file" and host in {"", "localhost"}:
        return _folder(Path(unquote(parts.path)))
    if parts.scheme not in _URL_SCHEMES:
        raise RepositoryUrlInvalid(
            f"{shown} cannot be used: AgentVine takes https, ssh and file URLs, "
            "git@host:path, and folders."
        )
    # A host or user that begins with '-' would become an option of ssh.
    bracketed = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(bracketed) or (parts.username or "").startswith("-"):
        raise RepositoryUrlInvalid(f"{shown} has no valid host name.")
    if " " in text or not parts.path.strip("/"):
        raise RepositoryUrlInvalid(f"{shown} names no repository on its host.")
    return Source(text, None)


def _folder(path: Path) -> Source:
    absolute = path.absolute()
    return Source(str(absolute), absolute)


def _has_ref_format(name: str) -> bool:
    try:
        is_too_long = any(len(part.encode()) > _MAX_REF_BYTES for part in name.split("/"))
    except UnicodeEncodeError:
        return False
    return not (
        is_too_long
        or _FORBIDDEN_IN_REF.search(name)
        or name.endswith((".", "/"))
        or any(part.startswith(".") or part.endswith(".lock") for part in name.split("/"))
        or "" in name.split("/")
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}...")
