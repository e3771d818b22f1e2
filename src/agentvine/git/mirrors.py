"""Bare copies of repositories on a worker's disk: one per repository, fetched incrementally.

The source's branches are kept as ``refs/remotes/origin/*``, apart from ours: a fetch prunes those
that are gone at the source, and never touches task branches (``refs/heads/*``) or what is kept
under ``refs/agentvine/*``.
"""

import hashlib
import os
import re
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from agentvine.git.environment import AUTHOR_EMAIL, AUTHOR_NAME
from agentvine.git.errors import RefNotFound
from agentvine.git.inspection import list_remote
from agentvine.git.locks import file_lock
from agentvine.git.names import Source, check_branch_name, parse_source
from agentvine.git.places import Place, Repository, find_repository
from agentvine.git.refs import find_ref
from agentvine.git.runner import Git
from agentvine.git.transport import serving_command, talk_to

_REFSPECS = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
_STALE_LOCK_SECONDS = 600.0
_LOCK_TIMEOUT_SECONDS = 1800.0
_TIDYING = (
    ("gc.auto", "6700"),
    ("gc.autoPackLimit", "50"),
    ("gc.autoDetach", "false"),
    # What is younger may belong to a commit that is being made right now.
    ("gc.pruneExpire", "2.days.ago"),
)


def mirror_name(source: str | Path) -> str:
    """A folder name for the mirror of a source: readable, and unlike that of any other source."""
    parsed = parse_source(source)
    last = re.split(r"[/:]", parsed.address.rstrip("/"))[-1].removesuffix(".git")
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-")[:40] or "repository"
    digest = hashlib.sha256(parsed.address.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{readable}-{digest[:12]}.git"


async def ensure_mirror(git: Git, source: str | Path, mirror: Path) -> None:
    """Make the mirror, or bring it up to date.

    Several processes may ask at the same time: one fetches, the others wait and fetch what is
    new since, which is quick.

    Raises:
        RepositoryUrlInvalid: The source is malformed or of a kind that is not allowed.
        RemoteUnreachable: The source does not answer, or is no repository.
        RepositoryBusy: Another process fetched for very long.
    """
    parsed = parse_source(source)
    async with file_lock(lock_path(mirror), timeout_seconds=_LOCK_TIMEOUT_SECONDS):
        if find_repository(mirror) is None:
            await _create(git, parsed, mirror)
        else:
            restore_layout(mirror)
            _remove_stale_locks(mirror)
        await talk_to(
            git,
            Place(mirror),
            parsed,
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--no-tags",  # the refspec has them, with pruning
            "--update-shallow",  # the source may be a shallow clone
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            *serving_command(git, parsed, "upload-pack"),
            "--end-of-options",
            parsed.address,
            *_REFSPECS,
        )
        # A fetch that brings nothing changes nothing; yet it is in use.
        os.utime(mirror)


async def resolve_source_branch(git: Git, mirror: Path, branch: str) -> str:
    """The commit that a branch of the source had at the last fetch.

    Raises:
        RefNotFound: The source had no such branch.
    """
    name = check_branch_name(branch)
    commit = await find_ref(git, mirror, f"refs/remotes/origin/{name}")
    if commit is None:
        raise RefNotFound(f"The repository has no branch {branch}.", branch=branch)
    return commit


async def tidy_mirror(git: Git, mirror: Path) -> None:
    """Pack a mirror that has become untidy, and drop what nothing has referred to for days.

    Every fetch and every run leaves something behind; git judges by its own rule whether it is
    enough to be worth the work, so this costs little where it is not.
    """
    async with file_lock(lock_path(mirror), timeout_seconds=_LOCK_TIMEOUT_SECONDS):
        restore_layout(mirror)
        _remove_stale_locks(mirror)
        await git.with_settings(*_TIDYING).run(Place(mirror), "gc", "--auto", "--quiet")


def restore_layout(mirror: Path) -> None:
    """Put the mirror's own configuration back, and remove hooks and attributes.

    All worktrees share them, and tools change them in passing (``pre-commit install``, husky,
    ``git config``): what one run has set must not run in the next one.
    """
    config = mirror / "config"
    wanted = _config(Repository(mirror, mirror, None).object_format)
    if not config.is_file() or config.read_text("utf-8", "replace") != wanted:
        temporary = mirror / "config.agentvine"
        temporary.write_text(wanted, "utf-8")
        temporary.replace(config)
    shutil.rmtree(mirror / "hooks", ignore_errors=True)
    for name in ("hooks", "config.worktree", "info/attributes", "info/grafts"):
        with suppress(FileNotFoundError, NotADirectoryError):
            (mirror / name).unlink()


def lock_path(mirror: Path) -> Path:
    """The file whose lock is held by whoever changes the mirror as a whole."""
    return mirror.with_name(f"{mirror.name}.lock")


async def _create(git: Git, source: Source, mirror: Path) -> None:
    # A hash longer than SHA-1's 40 digits needs a mirror of its own format.
    advertised = await list_remote(git, source)
    is_sha256 = any(len(commit) == 64 for commit in advertised.branches.values())
    half_made = _empty_folder(mirror.with_name(f"{mirror.name}.new"))
    await git.run(
        Place(half_made),
        "init",
        "--quiet",
        "--bare",
        "--template=",
        "--initial-branch=none",
        f"--object-format={'sha256' if is_sha256 else 'sha1'}",
    )
    restore_layout(half_made)
    _move(half_made, mirror)


def _empty_folder(path: Path) -> Path:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def _move(half_made: Path, mirror: Path) -> None:
    half_made.rename(mirror)


def _config(object_format: str) -> str:
    lines = [
        "[core]",
        f"\trepositoryformatversion = {0 if object_format == 'sha1' else 1}",
        "\tfilemode = true",
        "\tbare = true",
    ]
    if sys.platform == "darwin":
        lines += ["\tignorecase = true", "\tprecomposeunicode = true"]
    if object_format != "sha1":
        lines += ["[extensions]", f"\tobjectformat = {object_format}"]
    # For commits that an agent makes itself: it has no configuration of its own.
    lines += ["[user]", f"\tname = {AUTHOR_NAME}", f"\temail = {AUTHOR_EMAIL}"]
    # A collection in the background would outlive the run that set it off.
    lines += ["[gc]", "\tauto = 0", "[maintenance]", "\tauto = false"]
    return "\n".join([*lines, ""])


def _remove_stale_locks(mirror: Path) -> None:
    # Git makes lock files that outlive a power cut. No command of ours holds one for so long.
    # lint: allow AV002 (compared with the times of files)
    oldest = time.time() - _STALE_LOCK_SECONDS
    candidates = [*mirror.glob("*.lock"), *(mirror / "refs" / "remotes").rglob("*.lock")]
    candidates += (mirror / "refs" / "tags").rglob("*.lock")
    for path in candidates:
        with suppress(OSError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
