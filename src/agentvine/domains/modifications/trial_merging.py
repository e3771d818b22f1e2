"""Trying beforehand what merging live changes comes to: with their target, and with each other.

Level-triggered: what is live is read anew each time, and what has been tried is known by the two
commits. Git works between two short transactions and touches no work tree.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import structlog

from agentvine.db.session import Database
from agentvine.domains.modifications import trial_merges
from agentvine.domains.modifications.trial_merges import Head, Trial
from agentvine.domains.projects.desk import RepositoryDesk
from agentvine.domains.projects.models import Repository
from agentvine.git.errors import GitError, NoCommonHistory, RefNotFound
from agentvine.git.merges import merged_tree
from agentvine.git.refs import has_commit
from agentvine.git.runner import Git
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("foresight")
_MAX_HEADS = 40
"""Changes to one branch that are compared with each other, newest first."""
_MAX_TRIALS = 20
"""Merges tried in one step."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ForesightChore:
    """Tries merges of what waits to be applied; each call is one bounded step."""

    database: Database
    desk: RepositoryDesk

    async def look(self) -> int:
        """Try what has not been tried yet. Returns how many merges that were."""
        async with self.database.read() as read:
            heads = await trial_merges.list_heads(read)
            repositories = await trial_merges.list_repositories(read, heads)
            ids = [repository.id for repository in repositories]
            is_stale = await trial_merges.has_tried_elsewhere(read, ids)
        if is_stale:
            async with self.database.transaction(_ACTOR) as tx:
                await trial_merges.forget_elsewhere(tx, ids)
        left = _MAX_TRIALS
        for repository in repositories:
            own = [head for head in heads if head.repository_id == repository.id]
            try:
                left -= await self._look_at(repository, own, left)
            except (GitError, OSError) as error:
                log.warning(
                    "conflicts.not_foreseen", repository=str(repository.id), problem=str(error)
                )
            if left <= 0:
                break
        return _MAX_TRIALS - left

    async def _look_at(self, repository: Repository, heads: Sequence[Head], limit: int) -> int:
        async with self.database.read() as read:
            known = await trial_merges.list_tried(read, repository.id)
        tips = await self._tips(repository, {head.target_branch for head in heads})
        commits = {head.commit for head in heads}.union(tips.values())
        new = [trial for trial in _list_trials(heads, tips) if trial.key not in known]
        found = await self._try_some(repository, new, limit) if new else []
        if not found and commits.issuperset(commit for key in known for commit in key[:2]):
            return 0
        async with self.database.transaction(_ACTOR) as tx:
            # Two servers may have tried the same: one of them tells of it.
            if not await tx.dialect.try_lock(tx, f"trial merges of {repository.id}"):
                return 0
            await trial_merges.forget_others(tx, repository.id, tips=tips.values(), heads=heads)
            for trial, files in found:
                await trial_merges.keep_trial(tx, repository, trial, files)
        return len(found)

    async def _tips(self, repository: Repository, branches: Iterable[str]) -> dict[str, str]:
        """The commits of these target branches, as far as they are there."""
        tips: dict[str, str] = {}
        async with self.desk.open(repository, fetch=False) as place:
            for branch in sorted(branches):
                with contextlib.suppress(RefNotFound):
                    tips[branch] = await self.desk.resolve_branch(place, branch)
        return tips

    async def _try_some(
        self, repository: Repository, trials: Sequence[Trial], limit: int
    ) -> list[tuple[Trial, tuple[str, ...]]]:
        """The first of these merges whose commits are here, each with the files in conflict."""
        git, found = self.desk.git, list[tuple[Trial, tuple[str, ...]]]()
        is_here: dict[str, bool] = {}
        for trial in trials:
            # Opened for each: what waits to be applied goes between.
            async with self.desk.open(repository, fetch=False) as place:
                for commit in (trial.head.commit, trial.other_commit):
                    if commit not in is_here:
                        is_here[commit] = await has_commit(git, place.path, commit)
                if is_here[trial.head.commit] and is_here[trial.other_commit]:
                    found.append((trial, await _conflicts(git, place.path, trial)))
            if len(found) == limit:
                break
        return found


async def _conflicts(git: Git, path: Path, trial: Trial) -> tuple[str, ...]:
    try:
        _, files = await merged_tree(git, path, trial.other_commit, trial.head.commit)
    except NoCommonHistory:
        return ()  # it is told when the change is to be applied; no file is to blame
    return files


def _list_trials(heads: Sequence[Head], tips: Mapping[str, str]) -> list[Trial]:
    """What is to be tried, likely conflicts first: with the target, with common files, others."""
    trials = [Trial(head, None, tip) for head in heads if (tip := tips.get(head.target_branch))]
    pairs: list[Trial] = []
    for branch in sorted({head.target_branch for head in heads}):
        own = [head for head in heads if head.target_branch == branch][:_MAX_HEADS]
        # Each pair in one order, whichever of the two is newer.
        for one, other in combinations(sorted(own, key=lambda head: head.commit), 2):
            if one.task_id != other.task_id:
                pairs.append(Trial(one, other, other.commit))
    return trials + sorted(pairs, key=lambda trial: not trial.shares_files)
