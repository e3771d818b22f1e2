"""``agentvine server`` that is killed at each arrow of a team run, before or after its commit.

``python -m tests.support.mortal_server before|after FILE server ...``. An arrow is a transaction
by which the rows of a run say something new; what they said at each death is kept in FILE. Most of
a server's start is reading its own code: that is read once here, and servers are forked off.
"""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

from sqlalchemy import event
from sqlalchemy.orm import Session

from agentvine.__main__ import PARTS
from agentvine.cli.failures import run
from agentvine.config.settings import load_settings
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.modifications.models import Modification
from agentvine.domains.plans.models import Plan
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.team.models import TeamRun, TeamStep, TeamVerdict
from agentvine.kit.lifeline import stop_without_parent
from agentvine.server.loop import run_server
from agentvine.server.run import serve

_NEWS = "rows that say something new"
_ENDS = {TaskStatus.REVIEW, TaskStatus.COMPLETED, TaskStatus.FAILED}


def server(*, host: str, port: int, migrate: bool, parent: int | None) -> None:
    """Be a server that dies of each arrow, with the deaths of its predecessors in mind."""
    deadly, deaths = f"{sys.argv[1]}_commit", Path(sys.argv[2])

    def die(session: Session) -> None:
        news = session.info.get(_NEWS, set()) - set(deaths.read_text().splitlines())
        if news:
            with deaths.open("a") as file:
                print(*sorted(news), sep="\n", file=file)
            os.kill(os.getpid(), signal.SIGKILL)

    @event.listens_for(Session, "after_flush")
    def _look(session: Session, _context: object) -> None:
        found = {_say(row) for row in [*session.new, *session.dirty]} - {""}
        session.info.setdefault(_NEWS, set()).update(found)

    event.listen(Session, "before_commit", Session.flush)
    event.listen(Session, deadly, die)
    with stop_without_parent(parent):
        run_server(serve(load_settings(), host=host, port=port, migrate=migrate))


def _say(row: object) -> str:
    """What a row says of where its team run is."""
    said = ""
    match row:
        case TeamRun():
            has = [word for word in ("plan_id", "is_approved", "base_commit") if getattr(row, word)]
            said = f"run {' '.join([row.status, str(row.round), *has])}"
        case TeamStep():
            done = "answered" if row.answered_at else "paid" if row.tokens_out else "begun"
            said = f"{row.role} {row.round} {done}"
        case TeamVerdict():
            said = f"verdict of {row.role} {row.round}"
        case Plan():
            said = f"plan {row.status}"
        case Task() if row.status in _ENDS:
            said = f"T-{row.number} {row.status}"
        case ChatMessage() if row.question_state is not None:
            said = f"question {row.question_state}"
        case Modification():
            said = f"change of {row.branch_name} {row.status}"
        case _:
            pass
    return said


def _keep() -> int:
    """Fork one server after the other, until one ends otherwise than by its own hand."""
    is_told = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_told
        is_told = True
        if child:
            os.kill(child, signal.SIGTERM)

    child = 0
    signal.signal(signal.SIGTERM, stop)
    while not is_told:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            parts = replace(PARTS, serve_alone=f"{__spec__.name}:server")
            return run([*sys.argv[3:], "--parent", str(os.getppid())], parts)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            return os.waitstatus_to_exitcode(status)
    return 0


if __name__ == "__main__":
    sys.exit(_keep())
