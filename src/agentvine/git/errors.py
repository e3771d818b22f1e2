"""What can go wrong with a repository, in words for the person who must act.

    GitError
      Invalid       RepositoryUrlInvalid, NotARepository, RefNameInvalid, CommitIdInvalid,
                    BundleInvalid, SubmodulesRefused, LargeFilesRefused
      NotFound      RefNotFound, CommitNotFound, FileNotInCommit, LineNotInFile,
                    WorktreeNotFound
      Conflict      MergeConflict, NoCommonHistory, NotMerged, RefMoved, WorkTreeDirty,
                    WorkTreeBusy, PushRejected, WorktreeExists, NothingToBundle, BundleBaseMissing,
                    ExternalContentChanged, EditRefused
      Unavailable   GitNotFound, GitTooOld, GitTimeout, GitFailed, RemoteUnreachable, RepositoryBusy

No message ever shows the credentials of a URL.
"""

from collections.abc import Sequence
from pathlib import Path

from agentvine.kit.errors import AppError, Conflict, Invalid, NotFound, Unavailable


class GitError(AppError):
    """A git operation failed."""

    code = "git_error"


class RepositoryUrlInvalid(GitError, Invalid):
    """This is not a usable repository address."""

    code = "repository_url_invalid"


class NotARepository(GitError, Invalid):
    """There is no git repository here."""

    code = "not_a_repository"


class RefNameInvalid(GitError, Invalid):
    """Git does not allow this name for a branch or reference."""

    code = "ref_name_invalid"


class CommitIdInvalid(GitError, Invalid):
    """A commit is named by its full hexadecimal id."""

    code = "commit_id_invalid"


class BundleInvalid(GitError, Invalid):
    """This is not a usable git bundle."""

    code = "bundle_invalid"


class SubmodulesRefused(GitError, Invalid):
    """The repository has submodules, and does not allow work without them."""

    code = "submodules_refused"


class LargeFilesRefused(GitError, Invalid):
    """The repository has files kept by git-lfs, and does not allow work without them."""

    code = "large_files_refused"


class RefNotFound(GitError, NotFound):
    """There is no such branch or reference."""

    code = "ref_not_found"


class CommitNotFound(GitError, NotFound):
    """The repository does not have this commit."""

    code = "commit_not_found"


class FileNotInCommit(GitError, NotFound):
    """The commit has no such file."""

    code = "file_not_in_commit"


class LineNotInFile(GitError, NotFound):
    """The file has no such line."""

    code = "line_not_in_file"


class WorktreeNotFound(GitError, NotFound):
    """The mirror has no worktree at this path."""

    code = "worktree_not_found"


class MergeConflict(GitError, Conflict):
    """The changes contradict each other."""

    code = "merge_conflict"

    def __init__(self, detail: str, *, files: Sequence[str]) -> None:
        """Keep the files that cannot be merged."""
        super().__init__(detail, files=list(files))
        self.files = tuple(files)


class NoCommonHistory(GitError, Conflict):
    """The two commits share no history."""

    code = "no_common_history"


class NotMerged(GitError, Conflict):
    """The branch does not contain this commit."""

    code = "not_merged"


class RefMoved(GitError, Conflict):
    """The branch was changed by somebody else meanwhile."""

    code = "ref_moved"
    permanent = False


class WorkTreeDirty(GitError, Conflict):
    """The branch is checked out, with changes that are not committed."""

    code = "work_tree_dirty"

    def __init__(self, detail: str, *, path: Path, files: Sequence[str]) -> None:
        """Keep where the changes are, and in which files."""
        super().__init__(detail, path=str(path), files=list(files))
        self.path = path
        self.files = tuple(files)


class WorkTreeBusy(GitError, Conflict):
    """The branch is checked out, and something else is under way there."""

    code = "work_tree_busy"
    permanent = False


class PushRejected(GitError, Conflict):
    """The remote repository refused the push."""

    code = "push_rejected"


class WorktreeExists(GitError, Conflict):
    """The worktree's path or branch is taken."""

    code = "worktree_exists"


class FolderNotEmpty(GitError, Conflict):
    """There is something where the repository is to be."""

    code = "folder_not_empty"


class TooMuchToRead(GitError, Invalid):
    """The commit holds more than can be read at once."""

    code = "too_much_to_read"


class NothingToBundle(GitError, Conflict):
    """There is no commit to put into the bundle."""

    code = "nothing_to_bundle"


class BundleBaseMissing(GitError, Conflict):
    """The repository does not have the commits that the bundle builds on."""

    code = "bundle_base_missing"

    def __init__(self, detail: str, *, commits: Sequence[str]) -> None:
        """Keep the missing commits."""
        super().__init__(detail, commits=list(commits))
        self.commits = tuple(commits)


class EditRefused(GitError, Conflict):
    """The change does not fit what is there."""

    code = "edit_refused"

    def __init__(self, detail: str, *, files: Sequence[str]) -> None:
        """Keep which files it is about."""
        super().__init__(detail, files=list(files))
        self.files = tuple(files)


class ExternalContentChanged(GitError, Conflict):
    """The change touches what the repository does not hold: submodules, or files of git-lfs."""

    code = "external_content_changed"

    def __init__(self, detail: str, *, files: Sequence[str]) -> None:
        """Keep which."""
        super().__init__(detail, files=list(files))
        self.files = tuple(files)


class GitNotFound(GitError, Unavailable):
    """Git is not installed."""

    code = "git_not_found"


class GitTooOld(GitError, Unavailable):
    """The installed git is too old."""

    code = "git_too_old"


class GitTimeout(GitError, Unavailable):
    """Git took too long and was stopped."""

    code = "git_timeout"


class RemoteUnreachable(GitError, Unavailable):
    """The remote repository does not answer or does not let us in."""

    code = "remote_unreachable"


class RepositoryBusy(GitError, Unavailable):
    """Another process works in the repository."""

    code = "repository_busy"


class GitFailed(GitError, Unavailable):
    """A git command failed."""

    code = "git_failed"

    def __init__(self, command: str, exit_code: int, stderr: str) -> None:
        """Keep what was run and what git said, both already without credentials."""
        said = stderr.strip() or "it said nothing"
        super().__init__(
            f"{command} ended with {exit_code}: {said}", command=command, exit_code=exit_code
        )
        self.command = command
        self.exit_code = exit_code
        self.stderr = stderr
