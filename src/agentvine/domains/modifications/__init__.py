"""The changes that came out of executions: diff, impact, evidence, decision; snippets and tests."""
