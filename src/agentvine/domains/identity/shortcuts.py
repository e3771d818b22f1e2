"""History written by the statement that makes it: parts of SQL for ``domains/work/plain.py``.

They say what ``history`` says. Parameters are written ``:name`` and are filled by the statement.
"""

GOOD_WORKER = """
    SELECT k.id FROM api_tokens k LEFT JOIN users u ON u.id = k.user_id
    WHERE k.prefix = shown.token_prefix AND k.token_hash = shown.token_hash AND k.kind = 'worker'
        AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > :now)
        AND coalesce(u.is_active, true)
"""
"""The id of a worker's token that is good, as ``TokenAuthenticator`` finds it.

It is looked for by what a row ``shown`` has of it; ``:now`` is a timestamptz.
"""


def announced(source: str, event_type: str, *, entity: str, project: str, payload: str) -> str:
    """An event for each row of a common table expression.

    Args:
        source: The name of the common table expression.
        event_type: Dotted and in the past tense.
        entity: Its kind, and the column of ``source`` that has its id: ``"task task_id"``.
        project: An expression over ``source``.
        payload: The same, a jsonb.
    """
    kind, column = entity.split()
    return f"""
        INSERT INTO events (occurred_at, type, project_id, entity_type, entity_id, payload)
        SELECT :now, '{event_type}', {project}, '{kind}', {column}::text, {payload} FROM {source}
    """  # noqa: S608  # put together once, at import, from constants


def recorded(source: str, action: str, *, entity: str, before: str, after: str) -> str:
    """An audit row for each row of a common table expression.

    It has a ``project_id``, and says for which worker: ``token_id``, ``label``, ``request_id``.
    """
    kind, column = entity.split()
    return f"""
        INSERT INTO audit_events (
            occurred_at, actor_type, actor_id, actor_label, action, entity_type, entity_id,
            project_id, before, after, request_id
        )
        SELECT :now, 'worker', 'worker:' || token_id::text, label, '{action}', '{kind}',
            {column}::text, project_id, {before}, {after}, request_id
        FROM {source}
    """  # noqa: S608  # likewise
