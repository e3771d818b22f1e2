"""Who may act here, and what they did.

Owns users, the tokens and sessions that stand for them, the audit trail, the event log that live
pages resume from, answered idempotency keys and the server's own state. Invariants: passwords and
tokens are stored as hashes only, TOTP secrets encrypted; `is_admin` follows `role`; an audit row is
never changed or deleted, which triggers on both databases see to.
"""
