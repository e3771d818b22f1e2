"""Where a worker keeps things; several workers may share one data directory.

<data dir>/mirrors/<repository id>.git        shared: one bare mirror per repository
<data dir>/worktrees/<execution id>/          shared: one folder per running execution
<data dir>/homes/<task id>/<runtime>/         shared: an agent's settings and sessions
<data dir>/cache/<repository id>/             shared: what set-up commands have made
<data dir>/removed/                           shared: folders on their way out
<data dir>/workers/<name>/lock                held by the living process
<data dir>/workers/<name>/key.json            its own key, readable by its owner alone
<data dir>/workers/<name>/claim.json          the claim token not yet answered
<data dir>/workers/<name>/processes/          programs started (kit.orphans)
<data dir>/workers/<name>/runs/<execution>/   everything about one claim, until acknowledged
"""

import uuid
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataPlaces:
    """What all workers of one data directory share."""

    data_dir: Path

    @property
    def mirrors(self) -> Path:
        """Bare mirrors of repositories."""
        return self.data_dir / "mirrors"

    @property
    def worktrees(self) -> Path:
        """Work trees of running executions."""
        return self.data_dir / "worktrees"

    @property
    def cache(self) -> Path:
        """What set-up commands have made, by repository."""
        return self.data_dir / "cache"

    @property
    def homes(self) -> Path:
        """Agents' private folders, by task."""
        return self.data_dir / "homes"

    @property
    def removed(self) -> Path:
        """Folders that nobody needs any more, until there is time to remove them."""
        return self.data_dir / "removed"

    @property
    def workers(self) -> Path:
        """One folder per worker."""
        return self.data_dir / "workers"

    def mirror(self, repository_id: uuid.UUID) -> Path:
        """The mirror of one repository."""
        return self.mirrors / f"{repository_id}.git"

    def worktree(self, execution_id: uuid.UUID) -> Path:
        """The work tree of one execution."""
        return self.worktrees / str(execution_id)

    def home(self, task_id: uuid.UUID, runtime: str) -> Path:
        """The private folder of a task's agent."""
        return self.homes / str(task_id) / runtime

    def worker(self, name: str) -> "WorkerPlaces":
        """The places of one worker."""
        return WorkerPlaces(self, name)


@dataclass(frozen=True, slots=True)
class WorkerPlaces:
    """What belongs to one worker alone."""

    data: DataPlaces
    name: str

    @property
    def root(self) -> Path:
        """Its folder."""
        return self.data.workers / self.name

    @property
    def lock(self) -> Path:
        """Locked while its process lives."""
        return self.root / "lock"

    @property
    def key(self) -> Path:
        """Its own key."""
        return self.root / "key.json"

    @property
    def claim(self) -> Path:
        """The claim under way."""
        return self.root / "claim.json"

    @property
    def processes(self) -> Path:
        """Records of started programs."""
        return self.root / "processes"

    @property
    def runs(self) -> Path:
        """One folder per claim that is not settled."""
        return self.root / "runs"

    @property
    def refused(self) -> Path:
        """Runs whose report the server refused for good; kept for people to look at."""
        return self.root / "refused"
