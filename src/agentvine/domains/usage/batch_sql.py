"""The statements of ``batches``, in both languages: each over all steps of a batch at once."""

from agentvine.db.blocks import Sql

_OF_DAY = """
    SELECT b.scope_type, b.scope_id, b.scope_agent_type, b.amount_usd, b.alert_threshold,
        (b.is_active AND b.action_on_exceed = 'block'),
        (c.alerted_at IS NOT NULL OR NOT b.is_active),
        (b.max_tokens IS NOT NULL OR b.max_runs IS NOT NULL),
        c.id, c.spent_usd, c.reserved_usd
    FROM budget_limits b LEFT JOIN budget_counters c ON c.budget_id = b.id
        AND c.period_start = CASE b.period
            WHEN 'daily' THEN {day} WHEN 'weekly' THEN {week} ELSE {month} END
    WHERE b.scope_type = 'global' OR b.scope_id {is_one} OR b.scope_agent_type {is_kind}
"""
_OF_TASK = """
    SELECT t.id, t.budget_usd, c.id, c.spent_usd, c.reserved_usd FROM tasks t
    LEFT JOIN budget_counters c ON c.task_id = t.id WHERE t.id {is_one}
"""
_TAKE = """
    DELETE FROM budget_reservations WHERE request_id {is_one}
    RETURNING request_id, amount_usd, counter_ids
"""
_KEEP = """
    SELECT request_id, amount_usd, counter_ids FROM budget_reservations WHERE request_id {is_one}
"""
_RESERVATION = (
    "id, request_id, execution_id, amount_usd, counter_ids, call, owner, expires_at, created_at"
)
_USAGE = (
    "id, timestamp, usage_date, user_id, agent_id, agent_type, conversation_id, project_id, "
    "task_id, execution_id, request_id, model, tokens_in, tokens_out, tokens_cache_read, "
    "tokens_cache_write, cost_usd, request_duration_ms, was_cached, metadata"
)


def _one(number: int, kind: str) -> Sql:
    inside = f"IN (SELECT value FROM json_each(?{number}))"  # noqa: S608  # constants
    return Sql(f"= ANY(${number}::{kind}[])", inside)


def _day(number: int) -> Sql:
    return Sql(f"${number}::date", f"?{number}")


def _both(text: str, columns: str, *, tail: str = "", **places: Sql) -> Sql:
    return Sql(
        text.format(**{name: place.postgres for name, place in places.items()}) + tail,
        text.format(**{name: place.sqlite for name, place in places.items()}),
        columns,
    )


def _insert(table: str, names: str, casts: dict[str, str]) -> Sql:
    columns = names.split(", ")
    numbered = [f"${number}{casts.get(name, '')}" for number, name in enumerate(columns, 1)]
    into = f"INSERT INTO {table} ({names}) VALUES "  # noqa: S608  # constants
    marks = ", ".join("?" * len(columns))
    return Sql(f"{into}({', '.join(numbered)})", f"{into}({marks})")


STATEMENTS = {
    # The same lock as the long way's: who makes or changes a budget holds it alone.
    "begin": Sql(
        "BEGIN; SELECT pg_advisory_xact_lock_shared(hashtextextended('usage books', 0))", ""
    ),
    "lock_tasks": Sql(
        "SELECT id FROM tasks WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE",
        "",  # its one writer holds them all
    ),
    "budgets": _both(
        _OF_DAY,
        "titmmbbbimm",
        day=_day(1),
        week=_day(2),
        month=_day(3),
        is_one=_one(4, "uuid"),
        is_kind=_one(5, "text"),
    ),
    "tasks": _both(_OF_TASK, "imimm", is_one=_one(1, "uuid")),
    "take": _both(_TAKE, "tml", is_one=_one(1, "text")),
    "keep": _both(_KEEP, "tml", tail=" ORDER BY request_id FOR UPDATE", is_one=_one(1, "text")),
    "lock_counters": Sql(
        "SELECT id, spent_usd, reserved_usd FROM budget_counters WHERE id = ANY($1::uuid[]) "
        "ORDER BY id FOR NO KEY UPDATE",
        "",  # its one writer has read them with their budgets, and nobody changes them meanwhile
    ),
    "move": Sql(
        "UPDATE budget_counters SET spent_usd = spent_usd + $2, reserved_usd = reserved_usd + $3, "
        "spent_tokens = spent_tokens + $4 WHERE id = $1",
        "UPDATE budget_counters SET spent_usd = spent_usd + ?2, reserved_usd = reserved_usd + ?3, "
        "spent_tokens = spent_tokens + ?4 WHERE id = ?1",
    ),
    "shrink": Sql(
        "UPDATE budget_reservations SET amount_usd = $2 WHERE request_id = $1",
        "UPDATE budget_reservations SET amount_usd = ?2 WHERE request_id = ?1",
    ),
    "reserve": _insert("budget_reservations", _RESERVATION, {"call": "::jsonb"}),
    "count": _insert("token_usage", _USAGE, {"metadata": "::jsonb"}),
    "totals": Sql(
        "UPDATE tasks SET total_tokens_used = total_tokens_used + $2, "
        "total_cost_usd = total_cost_usd + $3 WHERE id = $1",
        "UPDATE tasks SET total_tokens_used = total_tokens_used + ?2, "
        "total_cost_usd = total_cost_usd + ?3 WHERE id = ?1",
    ),
}
