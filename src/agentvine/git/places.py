"""Where a git command works: which configuration, objects, index and work tree it sees."""

import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentvine.git.errors import NotARepository

_SHA256 = re.compile(rb"(?im)^\s*objectformat\s*=\s*sha256\s*$")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository on this machine, found without running git in it."""

    git_dir: Path
    """What belongs to this work tree: HEAD and index."""
    common_dir: Path
    """What all its work trees share: references, objects, configuration."""
    work_tree: Path | None

    @property
    def place(self) -> "Place":
        """Git commands that see the repository as it is, for references and its work tree."""
        return Place(self.git_dir, work_tree=self.work_tree)

    @property
    def object_format(self) -> str:
        """The hash that names its objects."""
        try:
            config = (self.common_dir / "config").read_bytes()
        except OSError:
            return "sha1"
        return "sha256" if _SHA256.search(config) else "sha1"


@dataclass(frozen=True, slots=True)
class Place:
    """What a git command is told about where it is: nothing is left for it to discover."""

    git_dir: Path
    work_tree: Path | None = None
    index: Path | None = None
    objects: Path | None = None

    @property
    def cwd(self) -> Path:
        """The folder to start the command in."""
        return self.work_tree or self.git_dir

    @property
    def environment(self) -> dict[str, str]:
        """The variables that say so."""
        given = {
            "GIT_DIR": self.git_dir,
            "GIT_WORK_TREE": self.work_tree,
            "GIT_INDEX_FILE": self.index,
            "GIT_OBJECT_DIRECTORY": self.objects,
        }
        return {name: str(path.absolute()) for name, path in given.items() if path is not None}


def locate(path: Path) -> Repository:
    """The repository whose top folder, or bare folder, this is.

    Raises:
        NotARepository: The path is missing, a file, or a folder without a repository of its own.
    """
    repository = find_repository(path)
    if repository is None:
        raise NotARepository(f"There is no git repository at {path}.", path=str(path))
    return repository


def find_repository(path: Path) -> Repository | None:
    """The repository whose top folder, or bare folder, this is, if it is one."""
    path = path.absolute()
    dot_git = path / ".git"
    if dot_git.is_file():
        git_dir = _linked_git_dir(dot_git)
        return None if git_dir is None else _repository(git_dir, work_tree=path)
    if _is_git_dir(dot_git):
        return _repository(dot_git, work_tree=path)
    return _repository(path, work_tree=None) if _is_git_dir(path) else None


@contextmanager
def clean_room(
    repository: Repository | None, *, work_tree: Path | None = None, index: Path | None = None
) -> Generator[Place]:
    """Work on a repository's objects without reading its configuration.

    Git gets an empty repository of ours whose objects are those of the given one, so no filter,
    merge driver, alias, include or attribute file that the given one names can take effect. It
    has none of the given one's references either: name commits by their ids. Without a
    repository, it is a place that certainly lies in none.
    """
    with tempfile.TemporaryDirectory(prefix="agentvine-git-") as folder:
        room = Path(folder)
        (room / "HEAD").write_text("ref: refs/heads/none\n")
        (room / "refs").mkdir()
        (room / "objects").mkdir()
        object_format = "sha1" if repository is None else repository.object_format
        (room / "config").write_text(_config(object_format, is_bare=work_tree is None))
        if repository is None:
            yield Place(room)
            return
        shallow = repository.common_dir / "shallow"
        if shallow.exists():
            # Without it, git would miss the parents that a shallow clone does not have.
            shutil.copyfile(shallow, room / "shallow")
        yield Place(
            room, work_tree=work_tree, index=index, objects=repository.common_dir / "objects"
        )


def _config(object_format: str, *, is_bare: bool) -> str:
    version = 0 if object_format == "sha1" else 1
    lines = ["[core]", f"repositoryFormatVersion = {version}", f"bare = {str(is_bare).lower()}"]
    if version:
        lines += ["[extensions]", f"objectFormat = {object_format}"]
    return "\n".join([*lines, ""])


def _repository(git_dir: Path, *, work_tree: Path | None) -> Repository:
    common = git_dir / "commondir"
    common_dir = git_dir
    if common.is_file():
        common_dir = (git_dir / common.read_text().strip()).resolve()
    return Repository(git_dir.absolute(), common_dir.absolute(), work_tree)


def _linked_git_dir(dot_git: Path) -> Path | None:
    # A linked worktree, or a submodule, has a file that says where its git folder is.
    try:
        text = dot_git.read_text().strip()
    except (OSError, ValueError):
        return None
    if not text.startswith("gitdir:"):
        return None
    git_dir = (dot_git.parent / text.removeprefix("gitdir:").strip()).resolve()
    return git_dir if (git_dir / "HEAD").is_file() else None


def _is_git_dir(path: Path) -> bool:
    return (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()
