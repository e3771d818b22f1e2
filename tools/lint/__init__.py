"""House rules that a machine checks: ``python -m tools.lint``.

Each rule is one file in ``rules/`` with a code, the danger it guards against, and samples that it
must pass and must refuse. A line is let through by ``# lint: allow AV001 (the reason)`` on it, or
alone on the line above; an escape without a reason, or one that lets nothing through, is a finding
itself.
"""
