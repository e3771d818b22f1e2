"""Sending commits to another repository."""

from pathlib import Path

from agentvine.git.errors import GitTimeout, PushRejected, RemoteUnreachable
from agentvine.git.names import check_commit_id, check_ref_name, parse_source
from agentvine.git.places import clean_room, locate
from agentvine.git.refs import MUST_NOT_EXIST
from agentvine.git.runner import Git, failed
from agentvine.git.transport import serving_command


async def push(
    git: Git,
    repository: Path,
    url: str | Path,
    *,
    commit: str,
    ref: str,
    expected: str | None = None,
) -> None:
    """Set a reference of another repository to a commit of this one.

    The repository's own configuration is not read: it could send the push, and the credentials,
    somewhere else.

    Args:
        git: The git program.
        repository: Where the commit is.
        url: The other repository.
        commit: What to send.
        ref: The reference to set there, such as ``refs/heads/agentvine/T-1``.
        expected: What it must be there now, or ``MUST_NOT_EXIST``; it may then also be moved
            back. None allows only steps forward.

    Raises:
        PushRejected: The other side refused: the reference is not what was expected, the step is
            not forward, or a rule there forbids it.
        RemoteUnreachable: It does not answer, or does not let us in.
    """
    await _send(git, repository, url, commit=check_commit_id(commit), ref=ref, expected=expected)


async def remove_pushed(
    git: Git, repository: Path, url: str | Path, *, ref: str, expected: str
) -> None:
    """Remove a reference of another repository, if it is there still what it was.

    Raises:
        PushRejected: It was moved meanwhile, or a rule there forbids it.
        RemoteUnreachable: It does not answer, or does not let us in.
    """
    await _send(git, repository, url, commit="", ref=ref, expected=expected)


async def _send(
    git: Git, repository: Path, url: str | Path, *, commit: str, ref: str, expected: str | None
) -> None:
    target = parse_source(url)
    name = check_ref_name(ref)
    lease: list[str] = []
    if expected is not None:
        value = "" if expected == MUST_NOT_EXIST else check_commit_id(expected)
        lease = [f"--force-with-lease={name}:{value}"]
    args = (
        *("push", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no"),
        *lease,
        *serving_command(git, target, "receive-pack"),
        *("--end-of-options", target.address, f"{commit}:{name}"),
    )
    with clean_room(locate(repository)) as room:
        try:
            result = await git.capture(room, *args, timeout_seconds=git.network_timeout_seconds)
        except GitTimeout as error:
            raise RemoteUnreachable(f"{target.shown} did not answer in time.") from error
    if result.exit_code == 0:
        return
    for line in result.stdout.decode("utf-8", "replace").splitlines():
        if line.startswith("!"):
            reason = line.split("\t")[-1]
            raise PushRejected(f"{target.shown} refused {name}: {reason}.", ref=name, reason=reason)
    error = failed(args, result)
    raise RemoteUnreachable(
        f"{target.shown} could not be reached: {error.stderr.strip()}", url=target.shown
    )
