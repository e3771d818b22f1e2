"""What a worker says of an attempt, in sentences."""

from agentvine.protocol.queue import ChangeReport, TestReport

MAX_LAST_WORDS = 500


def summary_of_change(change: ChangeReport) -> str:
    """How much was changed."""
    count = len(change.files)
    added = sum(file.added_lines for file in change.files)
    removed = sum(file.removed_lines for file in change.files)
    return f"Changed {count} file{'' if count == 1 else 's'}, +{added} -{removed} lines."


def summary_of_tests(tests: TestReport) -> str:
    """How the tests went."""
    if tests.total is None:
        return f"The tests {'passed' if tests.passed else 'failed'} (exit {tests.exit_code})."
    if tests.passed:
        return f"The tests passed: {tests.total} run, {tests.skipped} skipped."
    if not tests.failures and not tests.errors:
        return f"No test failed, but the test command ended with exit code {tests.exit_code}."
    names = ", ".join(case.name for case in tests.failed_cases[:5])
    return (
        f"The tests failed: {tests.failures} failed and {tests.errors} broke "
        f"of {tests.total} ({names})."
    )


def last_words(text: str) -> str:
    """A sentence with the last line of an output; nothing where that says nothing."""
    lines = [line for line in text.splitlines() if line.strip()]
    return f" It last said: {lines[-1].strip()[:MAX_LAST_WORDS]}" if lines else ""
