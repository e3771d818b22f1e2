"""One folder per claim: all that must outlive the worker's process, until the claim is settled.

    claim.json      the order as it was claimed, and how far it got
    log.jsonl       its output (``spool``), and log.sent, how much of that is acknowledged
    inbox/          what people say to its programs, which may only read it
    shared/         what the run's programs may write: junit.xml, the tests' results
    change.bundle   its commits
    report.json     how it ended: once this is there, only delivery is left (the outbox)

A folder without report.json at start-up is a run that its worker did not survive.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from agentvine.protocol.queue import ClaimedOrder, CompleteIn, FailIn, ReleaseIn
from agentvine.worker.disk import sync_directory, write_durably


class Stage(StrEnum):
    """How far a run got: whether its order was touched at all."""

    CLAIMED = "claimed"
    STARTED = "started"


class ClaimRecord(BaseModel):
    """claim.json."""

    model_config = ConfigDict(frozen=True)

    order: ClaimedOrder
    stage: Stage = Stage.CLAIMED
    base_commit: str = ""
    """What the work tree was made from; empty while there is none."""
    branch: str = ""
    target_branch: str = ""
    left_by_set_up: tuple[str, ...] = ()
    """Patterns of files that are no part of the change."""


class PendingReport(BaseModel):
    """report.json: exactly one of the three is set."""

    model_config = ConfigDict(frozen=True)

    complete: CompleteIn | None = None
    fail: FailIn | None = None
    release: ReleaseIn | None = None

    @property
    def kind(self) -> str:
        """Which of the three."""
        if self.complete is not None:
            return "complete"
        return "fail" if self.fail is not None else "release"


@dataclass(slots=True)
class RunFolder:
    """The folder of one claim."""

    path: Path
    record: ClaimRecord

    @classmethod
    def create(cls, runs: Path, order: ClaimedOrder) -> "RunFolder":
        """Keep a claim, durably, before anything is done about it."""
        path = runs / str(order.execution_id)
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = cls(path, ClaimRecord(order=order))
        folder._write_claim()
        sync_directory(runs)
        return folder

    @property
    def order(self) -> ClaimedOrder:
        """The order as it was claimed."""
        return self.record.order

    @property
    def log(self) -> Path:
        """The spooled output."""
        return self.path / "log.jsonl"

    @property
    def bundle(self) -> Path:
        """The commits."""
        return self.path / "change.bundle"

    @property
    def junit(self) -> Path:
        """Where the tests may write their results; outside the work tree."""
        return self.shared / "junit.xml"

    @property
    def shared(self) -> Path:
        """What the run's programs may write here, also from a sandbox; the rest is ours alone."""
        path = self.path / "shared"
        path.mkdir(exist_ok=True)
        return path

    @property
    def inbox(self) -> Path:
        """What the run's programs may read here, also in a sandbox, and we alone write."""
        path = self.path / "inbox"
        path.mkdir(exist_ok=True)
        return path

    def note_start(self) -> None:
        """From here on the order is not untouched any more."""
        self.record = self.record.model_copy(update={"stage": Stage.STARTED})
        self._write_claim()

    def note_workspace(self, *, base_commit: str, branch: str, target_branch: str) -> None:
        """Keep what a later process needs to make sense of the work tree."""
        self.record = self.record.model_copy(
            update={
                "base_commit": base_commit,
                "branch": branch,
                "target_branch": target_branch,
            }
        )
        self._write_claim()

    def note_set_up(self, left: tuple[str, ...]) -> None:
        """Keep what is no part of the change."""
        self.record = self.record.model_copy(update={"left_by_set_up": left})
        self._write_claim()

    def put_report(self, report: PendingReport) -> None:
        """From here on the outcome is certain, whatever happens to this process."""
        write_durably(
            self.path / "report.json", report.model_dump_json(exclude_unset=True).encode()
        )

    def get_report(self) -> PendingReport | None:
        """The outcome, if the run got so far."""
        try:
            return PendingReport.model_validate_json((self.path / "report.json").read_bytes())
        except (OSError, ValidationError):
            return None

    def remove(self) -> None:
        """The claim is settled, one way or the other."""
        # The claim goes first: half a folder must not be taken for an interrupted run.
        (self.path / "claim.json").unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)

    def set_aside(self, refused: Path) -> Path:
        """Keep a folder whose report nobody takes, for people to look at."""
        refused.mkdir(parents=True, exist_ok=True)
        target = refused / self.path.name
        shutil.rmtree(target, ignore_errors=True)
        return self.path.rename(target)

    def _write_claim(self) -> None:
        write_durably(self.path / "claim.json", self.record.model_dump_json().encode())


def read_folders(runs: Path, *, remove_damaged: bool = True) -> Iterator[RunFolder]:
    """The folders of all claims that are not settled."""
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        try:
            record = ClaimRecord.model_validate_json((path / "claim.json").read_bytes())
        except (OSError, ValidationError):
            # The claim was not kept yet, so nothing was started; or it is settled.
            if remove_damaged:
                shutil.rmtree(path, ignore_errors=True)
            continue
        yield RunFolder(path, record)
