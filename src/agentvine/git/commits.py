"""Making commit objects, without a branch and without a work tree."""

from collections.abc import Sequence
from dataclasses import dataclass

from agentvine.git.environment import AUTHOR_EMAIL, AUTHOR_NAME
from agentvine.git.names import check_commit_id
from agentvine.git.places import Place
from agentvine.git.runner import Git, text


@dataclass(frozen=True, slots=True)
class Author:
    """Who a change is credited to; the committer is always AgentVine."""

    name: str = AUTHOR_NAME
    email: str = AUTHOR_EMAIL


async def write_commit(
    git: Git,
    room: Place,
    tree: str,
    *,
    parents: Sequence[str],
    message: str,
    author: Author | None = None,
) -> str:
    """Store a commit of a tree and give its id."""
    arguments = [part for parent in parents for part in ("-p", check_commit_id(parent))]
    body = message.replace("\0", "").strip() + "\n"
    who = author or Author()
    identity = (("author.name", _clean(who.name)), ("author.email", _clean(who.email)))
    output = await git.with_settings(*identity).run(
        room, "commit-tree", tree, *arguments, stdin=body.encode("utf-8", "replace")
    )
    return text(output)


async def read_message(git: Git, room: Place, commit: str) -> tuple[str, list[str]]:
    """A commit's message, and its parents."""
    output = await git.run(room, "cat-file", "commit", check_commit_id(commit))
    head, _, message = output.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").splitlines()
    parents = [line.removeprefix("parent ") for line in lines if line.startswith("parent ")]
    return message.decode("utf-8", "replace"), parents


def _clean(value: str) -> str:
    # Git writes them on one line, between brackets.
    return "".join(char for char in value if char.isprintable() and char not in "<>") or "unknown"
