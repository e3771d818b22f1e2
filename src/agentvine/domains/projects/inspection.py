"""Asking git about a repository before it is registered."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from agentvine.domains.projects.errors import (
    BranchUnknown,
    CredentialsInUrl,
    RepositoryEmpty,
    RepositoryPathForbidden,
)
from agentvine.domains.projects.service import RepositoryFacts
from agentvine.git.errors import NotARepository
from agentvine.git.external import find_external, notes, refusals
from agentvine.git.inspection import RepositoryInfo, has_branch, inspect_repository
from agentvine.git.names import Source, parse_source
from agentvine.git.places import locate
from agentvine.git.refs import resolve_branch
from agentvine.git.runner import Git
from agentvine.kit.actor import UserActor
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.runs import WorkspacePolicy


@dataclass(frozen=True, slots=True)
class RepositoryInspector:
    """Finds out what a path or URL is; talks to git, so it never runs inside a transaction."""

    git: Git
    roots: tuple[Path, ...] = ()
    """Folders under which any developer may register a repository of the server's machine."""

    async def inspect(self, actor: UserActor, wanted: RepositoryCreateIn) -> RepositoryFacts:
        """What git says about the repository that somebody wants to register.

        A linked work tree stands for the repository it belongs to: their branches are the same.

        Raises:
            CredentialsInUrl: The URL holds what must not be kept.
            RepositoryPathForbidden: The path is the machine's, and not this user's to name.
            NotARepository: Missing, a file, or a folder without a repository.
            RepositoryEmpty: There is no commit to begin from.
            BranchUnknown: The wanted default branch is not there, or none can be told.
        """
        source = parse_source(wanted.location)
        if source.path is None:
            address = _checked_address(source)
            info = await inspect_repository(self.git, address)
        else:
            self._check_path(actor, source.path)
            info = await inspect_repository(self.git, source.path)
            self._check_place(actor, info)
            address = info.main_path or info.path
        branch = await self._default_branch(info, address, wanted.default_branch)
        return RepositoryFacts(
            name=wanted.name or _name_of(address),
            path=address,
            git_url=info.remote_url,
            default_branch=branch,
            test_command=wanted.test_command,
            sandbox=wanted.sandbox.model_dump(mode="json") if wanted.sandbox else None,
            limits=wanted.limits.model_dump(mode="json", exclude_none=True),
            workspace=wanted.workspace.model_dump(mode="json", exclude_defaults=True),
            overlap_waits=wanted.overlap_waits,
            trial_merges=wanted.trial_merges,
            notes=tuple(await self._notes(info, branch, wanted.workspace)),
        )

    async def check_branch(self, location: str, branch: str) -> None:
        """See that a registered repository has a branch.

        Raises:
            BranchUnknown: It has not.
            NotARepository: The repository itself is gone.
        """
        if not await has_branch(self.git, location, branch):
            raise BranchUnknown(f"It has no branch {branch!r}, or no commit on it.", branch=branch)

    async def _default_branch(self, info: RepositoryInfo, place: str, wanted: str | None) -> str:
        if wanted is not None and wanted != info.default_branch:
            await self.check_branch(place, wanted)
            return wanted
        if info.default_branch is None:
            raise BranchUnknown(
                "Its default branch cannot be told, because HEAD is detached: name it with "
                "`--default-branch`."
            )
        if info.is_empty:
            raise RepositoryEmpty(
                f"There is no commit on its branch {info.default_branch!r}: commit something "
                "first, or name another branch with `--default-branch`."
            )
        return info.default_branch

    async def _notes(
        self, info: RepositoryInfo, branch: str, workspace: WorkspacePolicy
    ) -> list[str]:
        """What runs will lack; for a URL only its worker can tell, when it has fetched it."""
        if not info.is_local:
            return []
        place = locate(Path(info.path)).common_dir
        found = await find_external(self.git, place, await resolve_branch(self.git, place, branch))
        return [*(error.detail for error in refusals(found, workspace)), *notes(found, workspace)]

    def _check_place(self, actor: UserActor, info: RepositoryInfo) -> None:
        # The folder may lie inside a repository, or name one elsewhere: what is read counts.
        found = locate(Path(info.path))
        for path in (Path(info.path), found.git_dir, found.common_dir):
            self._check_path(actor, path)

    def _check_path(self, actor: UserActor, path: Path) -> None:
        # A path is read with the server's rights, which may be more than this user's.
        if actor.is_admin:
            return
        try:
            resolved = path.resolve()
            is_allowed = any(resolved.is_relative_to(root.resolve()) for root in self.roots)
        except (OSError, RuntimeError, ValueError) as error:
            raise NotARepository(f"{path} cannot be looked at.", reason="unreadable") from error
        if not is_allowed:
            raise RepositoryPathForbidden(
                "Only an admin may register a path of the server's machine (or an admin allows "
                "its folder with AGENTVINE_REPOSITORY_ROOTS). Register the repository's URL "
                "instead."
            )


def _checked_address(source: Source) -> str:
    """The address in the one form in which it is kept."""
    address = source.address.rstrip("/")
    if "://" not in address:
        return address
    parts = urlsplit(address)
    is_login = parts.username is not None and parts.scheme != "ssh"
    if is_login or parts.password is not None or parts.query or parts.fragment:
        raise CredentialsInUrl(
            "Leave out user, password and token: put them into the file .netrc in the home of who "
            "runs server and workers, or use an ssh address and key."
        )
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}{host.lower()}").geturl()


def _name_of(place: str) -> str:
    last = PurePosixPath(place.replace(":", "/").rstrip("/")).name
    return last.removesuffix(".git") or "repository"
