"""Real git repositories for tests, made with the git command and an environment of its own."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "PATH": f"{os.defpath}:/usr/local/bin",
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "Tess Ter",
    "GIT_AUTHOR_EMAIL": "tess@example.org",
    "GIT_COMMITTER_NAME": "Tess Ter",
    "GIT_COMMITTER_EMAIL": "tess@example.org",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Repo:
    """A repository in a folder: a bare one, a usual one, or one of its work trees."""

    path: Path

    def git(self, *args: str | Path, stdin: bytes | None = None) -> str:
        """Run git here; a failure fails the test."""
        result = subprocess.run(
            ["git", *map(str, args)],
            cwd=self.path,
            env=ENVIRONMENT,
            input=stdin,
            capture_output=True,
            check=False,
        )
        assert result.returncode == 0, (
            f"git {args}: {result.stderr.decode()}{result.stdout.decode()}"
        )
        return result.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files; None removes one."""
        for name, content in files.items():
            path = self.path / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(
        self, files: Mapping[str, str | bytes | None] | None = None, message: str = "A change"
    ) -> str:
        """Write files, commit everything, and give the commit."""
        self.write(files or {})
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head

    def commit_on(
        self, branch: str, files: Mapping[str, str | bytes | None], start: str = "HEAD"
    ) -> str:
        """Commit on a new branch in a work tree beside this one, which stays as it is."""
        path = self.path.parent / f"{self.path.name}-{branch.replace('/', '-')}"
        self.git("worktree", "add", "-q", "-b", branch, path, start)
        commit = Repo(path).commit(files, f"Work on {branch}")
        self.git("worktree", "remove", "--force", path)
        return commit

    @property
    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def rev(self, name: str) -> str:
        return self.git("rev-parse", name)

    def show(self, commit: str, path: str) -> str:
        return self.git("show", f"{commit}:{path}")

    def files(self, commit: str) -> list[str]:
        """The names of all files in a commit."""
        output = self.git("ls-tree", "-r", "-z", "--name-only", commit)
        return [name for name in output.split("\0") if name]

    def status(self) -> str:
        return self.git("status", "--porcelain")

    def parents(self, commit: str) -> list[str]:
        return self.git("rev-list", "--parents", "-n1", commit).split(" ")[1:]


def make_repo(path: Path, files: Mapping[str, str | bytes | None] | None = None) -> Repo:
    """A usual repository with one commit on ``main``."""
    path.mkdir(parents=True)
    repo = Repo(path)
    repo.git("init", "-q", "-b", "main")
    repo.commit({"README.md": "hello\n", "src/app.py": "x = 1\ny = 2\nz = 3\n"} | dict(files or {}))
    return repo


def make_bare(path: Path, source: Repo | None = None) -> Repo:
    """A bare repository: a clone, or an empty one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if source is None:
        path.mkdir()
        Repo(path).git("init", "-q", "--bare", "-b", "main")
    else:
        source.git("clone", "-q", "--bare", source.path, path)
    return Repo(path)
