"""References of a repository: read, set by compare-and-swap, listed."""

import asyncio
import random
from pathlib import Path

from agentvine.git.errors import CommitNotFound, RefMoved, RefNotFound
from agentvine.git.names import RESCUE_PREFIX, branch_ref, check_commit_id, check_ref_name
from agentvine.git.places import Repository, clean_room, locate
from agentvine.git.runner import Git, failed, text

MUST_NOT_EXIST = ""
"""As the expected value of a reference: it is to be made, not moved."""

_LOCK_ATTEMPTS = 20


async def find_ref(git: Git, repository: Path, ref: str) -> str | None:
    """The commit that a reference points to, if there is such a reference."""
    name = check_ref_name(ref)
    output = await git.run(
        locate(repository).place,
        *("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"),
        allowed_exit_codes=(0, 1, 128),
    )
    return text(output) or None


async def resolve_ref(git: Git, repository: Path, ref: str) -> str:
    """The commit that a reference points to.

    Raises:
        RefNotFound: There is no such reference.
    """
    commit = await find_ref(git, repository, ref)
    if commit is None:
        raise RefNotFound(f"{repository} has no {ref}.", ref=ref)
    return commit


async def resolve_branch(git: Git, repository: Path, branch: str) -> str:
    """The commit at the tip of a local branch.

    Raises:
        RefNotFound: There is no such branch.
    """
    commit = await find_ref(git, repository, branch_ref(branch))
    if commit is None:
        raise RefNotFound(
            f"{repository} has no branch {branch}: name one of its branches, or make it first.",
            branch=branch,
        )
    return commit


async def has_commit(git: Git, repository: Path, commit: str) -> bool:
    """Whether the repository has this commit."""
    with clean_room(locate(repository)) as room:
        result = await git.capture(room, "cat-file", "-e", f"{check_commit_id(commit)}^{{commit}}")
    return result.exit_code == 0


async def is_ancestor(git: Git, repository: Path, ancestor: str, commit: str) -> bool:
    """Whether a commit contains another one, or is it."""
    args = ("merge-base", "--is-ancestor", check_commit_id(ancestor), check_commit_id(commit))
    with clean_room(locate(repository)) as room:
        result = await git.capture(room, *args)
    if result.exit_code not in {0, 1}:
        raise failed(args, result)
    return result.exit_code == 0


async def common_ancestor(git: Git, repository: Path, one: str, other: str) -> str | None:
    """The commit where two histories parted; None when they have nothing in common."""
    args = ("merge-base", check_commit_id(one), check_commit_id(other))
    with clean_room(locate(repository)) as room:
        output = await git.run(room, *args, allowed_exit_codes=(0, 1))
    return text(output) or None


async def require_commit(git: Git, repository: Path, commit: str) -> str:
    """The id itself, when the repository has this commit.

    Raises:
        CommitNotFound: It does not.
    """
    if not await has_commit(git, repository, commit):
        raise CommitNotFound(f"{repository} does not have the commit {commit}.", commit=commit)
    return commit


async def set_ref(
    git: Git,
    repository: Path,
    ref: str,
    commit: str,
    *,
    expected: str | None = None,
    reason: str = "agentvine",
) -> None:
    """Point a reference to a commit.

    Args:
        git: The git program.
        repository: Where.
        ref: The full name, such as ``refs/agentvine/rescue/...``.
        commit: What it is to point to.
        expected: What it points to now, ``MUST_NOT_EXIST``, or None when that does not matter.
        reason: What the reflog is to say.

    Raises:
        RefMoved: It does not point to what was expected.
    """
    name, place = check_ref_name(ref), locate(repository).place
    args = ["update-ref", "--no-deref", "-m", reason, name, check_commit_id(commit)]
    if expected is not None:
        args.append("0" * len(commit) if expected == MUST_NOT_EXIST else check_commit_id(expected))
    for attempt in range(_LOCK_ATTEMPTS):
        result = await git.capture(place, *args)
        if result.exit_code == 0:
            return
        current = await find_ref(git, repository, name)
        if expected is not None and (current or MUST_NOT_EXIST) != expected:
            raise RefMoved(
                f"{ref} was changed by somebody else: it is at {current or 'nothing'}, "
                f"not at {expected or 'nothing'}.",
                ref=ref,
                current=current,
            )
        if b"lock" not in result.stderr or attempt == _LOCK_ATTEMPTS - 1:
            raise failed(args, result)
        # Somebody holds the lock file for a moment, and may be about to move it.
        await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311 - only spreads the load


async def delete_ref(git: Git, repository: Path, ref: str, *, expected: str | None = None) -> None:
    """Remove a reference; one that is not there is as good as removed, if none is expected.

    Raises:
        GitError: It does not point to what was expected.
    """
    was = [] if expected is None else [check_commit_id(expected)]
    args = ("update-ref", "--no-deref", "-d", check_ref_name(ref), *was)
    await git.run(locate(repository).place, *args)


async def is_checked_out(git: Git, repository: Path, branch: str) -> bool:
    """Whether a work tree of the repository is on a branch, given by its full name."""
    args = ("for-each-ref", "--format=%(worktreepath)", check_ref_name(branch))
    return bool(text(await git.run(locate(repository).place, *args)))


async def list_refs(git: Git, repository: Path, prefix: str) -> dict[str, str]:
    """The references under a prefix, such as ``refs/heads/``, with their commits."""
    output = await git.run(
        locate(repository).place,
        *("for-each-ref", "--format=%(objectname) %(refname)", prefix),
    )
    lines = (line.split(" ", 1) for line in text(output).splitlines())
    return {name: commit for commit, name in lines}


async def list_refs_with(git: Git, repository: Path, commit: str, prefix: str) -> list[str]:
    """The references under a prefix that contain a commit."""
    output = await git.run(
        locate(repository).place,
        *("for-each-ref", f"--contains={check_commit_id(commit)}", "--format=%(refname)", prefix),
    )
    return text(output).splitlines()


async def list_rescue_refs(git: Git, repository: Path) -> dict[str, str]:
    """What is kept for each execution: its id and the commit."""
    refs = await list_refs(git, repository, RESCUE_PREFIX)
    return {name.removeprefix(RESCUE_PREFIX): commit for name, commit in refs.items()}


async def tree_of(git: Git, repository: Repository, commit: str) -> str:
    """The id of a commit's tree."""
    with clean_room(repository) as room:
        return text(await git.run(room, "rev-parse", f"{check_commit_id(commit)}^{{tree}}"))
