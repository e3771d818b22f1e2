"""Is this a repository, which one, and what is its main branch?"""

from dataclasses import dataclass
from pathlib import Path

from agentvine.git.errors import GitFailed, NotARepository
from agentvine.git.names import Source, check_branch_name, clean_address, parse_source
from agentvine.git.places import Repository, clean_room, find_repository
from agentvine.git.refs import find_ref, list_refs
from agentvine.git.runner import Git, text
from agentvine.git.transport import serving_command, talk_to

_USUAL_DEFAULTS = ("main", "master", "trunk", "develop")
_HEADS = "refs/heads/"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryInfo:
    """What a registration needs to know of a repository."""

    path: str
    """The top folder of this work tree, the bare folder, or the address without credentials."""
    is_local: bool
    is_bare: bool
    default_branch: str | None
    """What HEAD names; when it is detached, what the remote or custom says. None: unknown."""
    head_commit: str | None
    """The tip of the default branch; None while there is no commit on it."""
    remote_url: str | None = None
    """Where ``origin`` is, without credentials."""
    main_path: str | None = None
    """For a linked worktree, the repository it belongs to."""
    asked_path: str | None = None
    """What was asked for, when that is a folder inside the work tree."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to work on yet."""
        return self.head_commit is None

    @property
    def is_linked_worktree(self) -> bool:
        """Whether this is one of several work trees of another repository."""
        return self.main_path is not None

    @property
    def is_subfolder(self) -> bool:
        """Whether the path asked for lies inside the repository, not at its top."""
        return self.asked_path is not None


async def inspect_repository(git: Git, source: str | Path) -> RepositoryInfo:
    """Look at a repository by its path or address.

    Raises:
        RepositoryUrlInvalid: The address is malformed or of a kind that is not allowed.
        NotARepository: The path is missing, a file, or a folder outside any repository.
        RemoteUnreachable: The address does not answer, or does not let us in.
    """
    parsed = parse_source(source)
    if parsed.path is None:
        return await _inspect_address(git, parsed)
    repository, asked = _find(parsed.path)
    try:
        return await _inspect_folder(git, repository, asked)
    except GitFailed as error:
        raise NotARepository(
            f"The repository at {parsed.path} is damaged: {error.stderr.strip()}",
            path=str(parsed.path),
        ) from error


async def has_branch(git: Git, source: str | Path, branch: str) -> bool:
    """Whether the repository at a path or address has a branch, with a commit on it.

    Raises:
        RefNameInvalid: Git allows no such name.
        NotARepository: There is no repository at the path any more.
        RemoteUnreachable: The address does not answer, or does not let us in.
    """
    check_branch_name(branch)
    parsed = parse_source(source)
    if parsed.path is None:
        return branch in (await list_remote(git, parsed)).branches
    repository, _ = _find(parsed.path)
    return await find_ref(git, repository.common_dir, f"{_HEADS}{branch}") is not None


def _find(path: Path) -> tuple[Repository, Path | None]:
    try:
        return _look_for(path)
    except (OSError, RuntimeError, ValueError) as error:
        # No permission, a name that is too long or holds a NUL, links that go in a circle.
        raise NotARepository(
            f"{path} cannot be looked at: {error}.", path=str(path), reason="unreadable"
        ) from error


def _look_for(path: Path) -> tuple[Repository, Path | None]:
    resolved = path.resolve()
    if not resolved.exists():
        raise NotARepository(f"{path} does not exist.", path=str(path), reason="missing")
    if not resolved.is_dir():
        raise NotARepository(
            f"{path} is a file: name the folder of the repository.", path=str(path), reason="file"
        )
    for folder in (resolved, *resolved.parents):
        if repository := find_repository(folder):
            return repository, None if folder == resolved else path
    raise NotARepository(
        f"{path} is a folder, but no git repository: run 'git init' there and commit, or name "
        "another folder.",
        path=str(path),
        reason="no_repository",
    )


async def _inspect_folder(git: Git, repository: Repository, asked: Path | None) -> RepositoryInfo:
    top = repository.work_tree or repository.git_dir
    main = Repository(repository.common_dir, repository.common_dir, None)
    branch = await _default_branch(git, main)
    remote = await git.run(
        main.place,
        *("config", "--get", "remote.origin.url"),
        allowed_exit_codes=(0, 1),
    )
    is_linked = repository.common_dir != repository.git_dir
    return RepositoryInfo(
        path=str(top),
        is_local=True,
        is_bare=repository.work_tree is None,
        default_branch=branch,
        head_commit=None
        if branch is None
        else await find_ref(git, repository.common_dir, f"{_HEADS}{branch}"),
        remote_url=clean_address(text(remote)) or None,
        main_path=str(_main_path(repository.common_dir)) if is_linked else None,
        asked_path=None if asked is None else str(asked),
    )


async def _default_branch(git: Git, main: Repository) -> str | None:
    head = await git.run(main.place, "symbolic-ref", "--quiet", "HEAD", allowed_exit_codes=(0, 1))
    if text(head).startswith(_HEADS):
        return text(head).removeprefix(_HEADS)
    # HEAD is detached: somebody looks at an old commit, or bisects.
    branches = [name.removeprefix(_HEADS) for name in await list_refs(git, main.common_dir, _HEADS)]
    remote_head = await git.run(
        main.place,
        *("symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"),
        allowed_exit_codes=(0, 1),
    )
    candidates = (text(remote_head).removeprefix("refs/remotes/origin/"), *_USUAL_DEFAULTS)
    for name in candidates:
        if name in branches:
            return name
    return branches[0] if len(branches) == 1 else None


def _main_path(common_dir: Path) -> Path:
    return common_dir.parent if common_dir.name == ".git" else common_dir


async def _inspect_address(git: Git, source: Source) -> RepositoryInfo:
    advertised = await list_remote(git, source)
    branch = advertised.default_branch
    address = clean_address(source.address)
    return RepositoryInfo(
        path=address,
        is_local=False,
        is_bare=True,
        default_branch=branch,
        head_commit=None if branch is None else advertised.branches.get(branch),
        remote_url=address,
    )


@dataclass(frozen=True, slots=True)
class Advertised:
    """What a repository says of itself to those who fetch."""

    default_branch: str | None
    branches: dict[str, str]


async def list_remote(git: Git, source: Source) -> Advertised:
    """Ask a repository for its branches, by address or path.

    Raises:
        RemoteUnreachable: It does not answer, or does not let us in.
    """
    with clean_room(None) as nowhere:
        output = await talk_to(
            git,
            nowhere,
            source,
            "ls-remote",
            "--symref",
            *serving_command(git, source, "upload-pack"),
            "--end-of-options",
            source.address,
            "HEAD",
            f"{_HEADS}*",
        )
    default: str | None = None
    branches: dict[str, str] = {}
    for line in text(output).splitlines():
        value, _, name = line.partition("\t")
        if name == "HEAD" and value.startswith("ref: "):
            default = value.removeprefix("ref: ").removeprefix(_HEADS)
        elif name.startswith(_HEADS):
            branches[name.removeprefix(_HEADS)] = value
    return Advertised(default, branches)
