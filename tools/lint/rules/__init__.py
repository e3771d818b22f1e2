"""The rules, one file each. A new one is listed here; CONTRIBUTING.md says how it is written."""

import sys

from tools.lint.rule import Rule
from tools.lint.rules import (
    addresses,
    broad_except,
    clock,
    dialects,
    docstrings,
    environment,
    file_size,
    frozen_migrations,
    function_size,
    http_in_rules,
    ids,
    imports_by_name,
    log_events,
    membership,
    processes,
    raw_sql,
    relationships,
    silenced_checks,
    skipped_tests,
    slice_privacy,
    test_patches,
    test_sleeps,
    transaction_ends,
    vague_names,
)

RULES: tuple[Rule, ...] = (
    transaction_ends.RULE,
    clock.RULE,
    ids.RULE,
    relationships.RULE,
    environment.RULE,
    dialects.RULE,
    broad_except.RULE,
    silenced_checks.RULE,
    membership.RULE,
    imports_by_name.RULE,
    processes.RULE,
    raw_sql.RULE,
    file_size.RULE,
    function_size.RULE,
    docstrings.RULE,
    addresses.RULE,
    slice_privacy.RULE,
    vague_names.RULE,
    test_sleeps.RULE,
    test_patches.RULE,
    skipped_tests.RULE,
    frozen_migrations.RULE,
    http_in_rules.RULE,
    log_events.RULE,
)
"""In the order of their codes."""


def explanation(rule: Rule) -> str:
    """The docstring of the rule's file: what goes wrong without it."""
    return (sys.modules[rule.check.__module__].__doc__ or "").strip()
