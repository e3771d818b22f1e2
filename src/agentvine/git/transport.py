"""What fetching from, and pushing to, another repository needs."""

import shlex

from agentvine.git.errors import GitFailed, GitTimeout, RemoteUnreachable
from agentvine.git.names import Source
from agentvine.git.places import Place, find_repository
from agentvine.git.runner import Git

_WANTS_A_LOGIN = ("could not read Username", "could not read Password", "Authentication failed")
_FOR_LOCAL_REPOSITORIES = {
    "core.hooksPath": "/dev/null",
    "core.alternateRefsCommand": "true",  # asked for when a push is checked
    "core.fsmonitor": "false",
    # 'updateInstead' would check out files, with the filters that the repository names.
    "receive.denyCurrentBranch": "refuse",
    "gc.auto": "0",
    "receive.autogc": "false",
}
"""A repository on this machine is served by a git that we start and that reads its configuration;
settings do not travel there in the environment, so they are given with the command."""


def serving_command(git: Git, source: Source, service: str) -> list[str]:
    """The option that says how a repository on this machine is served; none for an address.

    Args:
        git: The git program.
        source: The other repository.
        service: ``upload-pack`` to fetch, ``receive-pack`` to push.
    """
    if source.path is None:
        return []
    repository = find_repository(source.path)
    trusted = [source.path]
    if repository is not None:
        trusted += [repository.git_dir, repository.common_dir]
    # Git refuses repositories of another user unless they are named; ours are registered.
    settings = [f"safe.directory={path}" for path in dict.fromkeys(trusted)]
    settings += [f"{key}={value}" for key, value in _FOR_LOCAL_REPOSITORIES.items()]
    words = [git.executable, *(word for setting in settings for word in ("-c", setting)), service]
    return [f"--{service}={' '.join(shlex.quote(word) for word in words)}"]


async def talk_to(git: Git, place: Place, source: Source, *args: str) -> bytes:
    """Run a command that talks to another repository.

    Raises:
        RemoteUnreachable: It does not answer, does not let us in, or is not there.
    """
    try:
        return await git.run(place, *args, timeout_seconds=git.network_timeout_seconds)
    except GitTimeout as error:
        raise RemoteUnreachable(f"{source.shown} did not answer in time.") from error
    except GitFailed as error:
        said = error.stderr.strip()
        raise RemoteUnreachable(
            f"{source.shown} could not be reached: {said}{_advice(said)}", url=source.shown
        ) from error


def _advice(said: str) -> str:
    if not any(words in said for words in _WANTS_A_LOGIN):
        return ""
    return (
        " Put user and token into the file .netrc in the home of who runs server and workers, or "
        "use an ssh address and key."
    )
