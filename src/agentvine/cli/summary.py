"""What became of a watched task, in a few lines."""

from typing import Any

from agentvine.cli.formats import failed_cases, fmt_diff_stat, fmt_tests, fmt_took
from agentvine.cli.output import dump
from agentvine.cli.session import Session
from agentvine.cli.verdict import Outcome, Verdict
from agentvine.kit.errors import NotFound
from agentvine.protocol.executions import ExecutionOut
from agentvine.protocol.modifications import ModificationDetailOut

_MAX_CASES = 20


async def report(session: Session, verdict: Verdict, *, is_temporary: bool) -> None:
    """Print how it ended, and what one can do now."""
    change = None
    if verdict.modification is not None:
        change = await session.client.modifications.get(verdict.modification.id)
    execution = await _newest_execution(session, verdict)
    if session.out.as_json:
        session.out.data(
            dump(
                verdict.task,
                outcome=verdict.outcome,
                modification=change,
                execution=execution,
                exit_code=verdict.outcome.exit_code,
            )
        )
        return
    out = session.out
    out.line()
    out.line(f"{verdict.task.ref} {verdict.task.title}: {_SAID[verdict.outcome]}{_why(verdict)}")
    facts = _facts(verdict, change, execution)
    width = max((len(name) for name, _ in facts), default=0)
    for name, text in facts:
        out.line(f"  {name.ljust(width)}  {text}")
    if change is not None and verdict.outcome is Outcome.FAILED:
        for case in failed_cases(change.test_results)[:_MAX_CASES]:
            out.line(f"  failed: {case}")
    for line in _advice(verdict, is_temporary=is_temporary):
        out.line(line)


async def _newest_execution(session: Session, verdict: Verdict) -> ExecutionOut | None:
    try:
        page = await session.client.executions.list(task_id=verdict.task.id).page(limit=1)
    except NotFound:
        return None
    return page.items[0] if page.items else None


def _why(verdict: Verdict) -> str:
    modification = verdict.modification
    if verdict.outcome is Outcome.NOT_APPLIED and modification is not None:
        return f": {modification.failure_message}"
    is_told = verdict.outcome in (Outcome.APPLIED, Outcome.UNCHANGED, Outcome.REVIEW)
    reason = verdict.task.status_reason
    return f": {reason}" if reason and not is_told else ""


def _facts(
    verdict: Verdict, change: ModificationDetailOut | None, execution: ExecutionOut | None
) -> list[tuple[str, str]]:
    facts: list[tuple[str, str | None]] = []
    if change is not None:
        tests: dict[str, Any] = change.test_results
        facts += [
            ("change", fmt_diff_stat(change.diff_stat)),
            ("tests", fmt_tests(tests)),
            ("branch", change.branch_name),
            ("merged as", f"{change.merge_commit} on {change.target_branch}"
             if change.merge_commit else None),
            ("work kept on", change.rescue_ref if verdict.outcome.exit_code else None),
        ]  # fmt: skip
    if execution is not None:
        facts += [
            ("attempts", str(execution.attempt) if execution.attempt > 1 else None),
            ("exit code", str(execution.exit_code) if execution.exit_code else None),
            ("took", fmt_took(execution.started_at, execution.completed_at)),
        ]
    return [(name, text) for name, text in facts if text]


def _advice(verdict: Verdict, *, is_temporary: bool) -> list[str]:
    change = verdict.modification
    wants_look = verdict.outcome in (Outcome.FAILED, Outcome.CANCELLED)
    look = change.rescue_ref if change is not None and wants_look else None
    first = [f"  look at the work: git show {look}"] if look else []
    then = _ways_on(verdict)
    if then and is_temporary:
        first.append("Start a server with `agentvine up`; then:")
    return [*first, *then]


def _ways_on(verdict: Verdict) -> list[str]:
    task, change = verdict.task, verdict.modification
    ways: dict[Outcome, list[str]] = {
        Outcome.NOT_STARTED: [f"  say go:  agentvine task start {task.id}"],
        Outcome.BUDGET_USED_UP: [
            "  which budget:   agentvine budget list",
            f"  raise its own:  agentvine task edit {task.id} --budget USD",
            f"  go on:          agentvine task resume {task.id}",
        ],
        Outcome.BLOCKED: [f"  when that is put right:  agentvine task resume {task.id}"],
    }
    ways[Outcome.FAILED] = ways[Outcome.CANCELLED] = [
        f"  what it printed:  agentvine logs {task.id}",
        f"  try again:        agentvine task retry {task.id}",
    ]
    if change is not None:
        ways[Outcome.REVIEW] = [
            f"  look:     agentvine modification diff {change.id}",
            f"  approve:  agentvine approve {change.id}",
            f"  reject:   agentvine reject {change.id}",
        ]
        ways[Outcome.NOT_APPLIED] = [f"  try again:  agentvine modification apply {change.id}"]
    return ways.get(verdict.outcome, [])


_SAID = {
    Outcome.APPLIED: "done, and merged",
    Outcome.UNCHANGED: "done; there was nothing to change",
    Outcome.REVIEW: "done; the change waits for approval",
    Outcome.NOT_APPLIED: "approved, but not merged",
    Outcome.NOT_STARTED: "waits for somebody to say go",
    Outcome.BUDGET_USED_UP: "stopped by its budget",
    Outcome.BLOCKED: "cannot go on",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "cancelled",
}
