"""Who answers: rules over commands and files, what was remembered, and the task's level."""

from typing import Any

import pytest

from agentvine.domains.questions.matching import allows, denies, input_hash, lies_inside
from agentvine.domains.questions.policy import Asked, KnownRule, judge
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.questions import QuestionKind, RuleEffect

ALLOW, DENY, ASK, MODEL = RuleEffect.ALLOW, RuleEffect.DENY, RuleEffect.ASK, RuleEffect.MODEL


def command(text: str) -> dict[str, Any]:
    return {"command": text}


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("git status", "git status"),
        ("git status *", "git status"),
        ("git status *", "git status --short"),
        ("npm *", "npm ci && npm test"),
        ("echo *", "echo 'a; b && c'"),
        ("ls [ab]?", "ls [ab]?"),
        ("git log > out.txt", "git log > out.txt"),
        ("*", "anything $(at all)"),
    ],
)
def test_a_command_is_allowed_where_the_rule_covers_every_part(pattern: str, text: str):
    assert allows(pattern, command(text))


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("git status", "git status --short"),
        ("git status *", "git statusx"),
        ("git status *", "git status; rm -rf /"),
        ("git status *", "git status && rm -rf /"),
        ("git status *", "git status | sh"),
        ("git status *", "git status & rm x"),
        ("git status *", "git status\nrm -rf /"),
        ("git status *", "git status $(rm -rf /)"),
        ("git status *", "git status `rm -rf /`"),
        ("git status *", "git status > /etc/passwd"),
        ("git status *", "git status \\\nrm"),
        ("git status *", "PATH=/tmp git status"),
        ("git status *", "git status 'unfinished"),
        ("git status *", ""),
        ("ls ?", "ls a"),
        ("ls [ab]", "ls a"),
    ],
)
def test_a_rule_that_allows_is_not_talked_into_more(pattern: str, text: str):
    assert not allows(pattern, command(text))


@pytest.mark.parametrize(
    "text",
    [
        "git push",
        "git push --force",
        "cd sub && git push",
        "true; git push",
        "sudo git push",
        "sh -c 'git push'",
        'bash -c "cd x; git push origin main"',
        "echo $(git push)",
        "echo `git push`",
        "git  push",
        "git status\ngit push",
        "X=1 git push",
        "git push 'unfinished",
    ],
)
def test_a_rule_that_denies_is_not_talked_around(text: str):
    assert denies("git push *", command(text))
    assert not denies("git push *", command("git status"))


def test_a_command_may_be_a_list_of_words():
    assert allows("git status *", {"command": ["git", "status", "--short"]})
    assert denies("git push *", {"command": ["bash", "-c", "git push"]})


def test_files_are_compared_by_their_path():
    assert allows("src/*", {"file_path": "src/a/b.py"})
    assert not allows("src/*", {"file_path": "src/../../etc/passwd"})
    assert denies("*.env", {"file_path": "config/.env"})
    assert not denies("*.env", {"file_path": "config/env.py"})


@pytest.mark.parametrize(
    ("path", "is_inside"),
    [
        ("a.py", True),
        ("/tree/a.py", True),
        ("/tree2/a.py", False),
        ("/etc/passwd", False),
        ("../a.py", False),
        ("/tree/../a.py", False),
        (".git/hooks/pre-commit", False),
        ("~/.ssh/config", False),
    ],
)
def test_only_what_lies_in_the_work_tree_is_the_runs_own(path: str, *, is_inside: bool):
    assert lies_inside(path, "/tree") is is_inside
    if path.startswith("/"):
        assert not lies_inside(path, None)


def asked(
    tool: str, tool_input: dict[str, Any] | None = None, *, level: str = "supervised"
) -> Asked:
    return Asked(
        kind=QuestionKind.PERMISSION,
        level=PermissionLevel(level),
        tool=tool,
        tool_input=tool_input,
        worktree="/tree",
    )


@pytest.mark.parametrize(
    ("level", "tool", "tool_input", "effect"),
    [
        ("autonomous", "Bash", command("make"), ALLOW),
        ("supervised", "Bash", command("make"), ASK),
        ("supervised", "Read", {"file_path": "a.py"}, ALLOW),
        ("supervised", "Read", {"file_path": "/etc/shadow"}, ASK),
        ("supervised", "Edit", {"file_path": "/tree/a.py"}, ALLOW),
        ("supervised", "Edit", {"file_path": "/etc/hosts"}, ASK),
        ("supervised", "Edit", {}, ASK),
        ("human_required", "Edit", {"file_path": "a.py"}, ASK),
        ("human_required", "Grep", {"pattern": "x"}, ALLOW),
        ("supervised", "some_mcp_tool", {}, ASK),
        ("human_required", "mcp__agentvine__ask_human", {"question": "Which?"}, ALLOW),
    ],
)
def test_without_rules_the_permission_level_decides(
    level: str, tool: str, tool_input: dict[str, Any], effect: RuleEffect
):
    verdict = judge(asked(tool, tool_input, level=level), [])
    assert verdict.effect is effect
    assert verdict.rule


@pytest.mark.parametrize(
    ("level", "kind", "effect"),
    [
        ("autonomous", QuestionKind.PLAN, ALLOW),
        ("supervised", QuestionKind.PLAN, ASK),
        ("autonomous", QuestionKind.QUESTION, ASK),
    ],
)
def test_plans_and_questions(level: str, kind: QuestionKind, effect: RuleEffect):
    assert judge(Asked(kind=kind, level=PermissionLevel(level)), []).effect is effect


def rule(effect: RuleEffect, pattern: str | None = "*", **more: Any) -> KnownRule:
    fields: dict[str, Any] = {"name": effect.value, "tool": "bash", "pattern": pattern, **more}
    return KnownRule(effect=effect, **fields)


def test_the_strictest_rule_wins_whatever_the_order():
    question = asked("Bash", command("git push origin main"))
    rules = [rule(ALLOW), rule(MODEL), rule(ASK), rule(DENY, "git push *", reason="Never.")]
    for order in (rules, rules[::-1]):
        verdict = judge(question, order)
        assert (verdict.effect, verdict.reason) == (DENY, "Never.")
    assert judge(question, rules[:3]).effect is ASK
    assert judge(question, rules[:2]).effect is MODEL
    assert judge(question, rules[:1]).effect is ALLOW


def test_what_was_remembered_outranks_asking_but_nothing_forbidden():
    question = asked("Bash", command("make"))
    exact = rule(ALLOW, None, input_hash=input_hash(command("make")), is_remembered=True)
    assert judge(question, [rule(ASK), exact]).effect is ALLOW
    assert judge(question, [rule(DENY, "make *"), exact]).effect is DENY
    assert judge(asked("Bash", command("make all")), [rule(ASK), exact]).effect is ASK


def test_of_what_was_remembered_a_denial_outranks_an_allowance_whatever_the_order():
    question = asked("Bash", command("make all"))
    wide = rule(ALLOW, "make *", is_remembered=True)
    narrow = rule(DENY, None, input_hash=input_hash(command("make all")), is_remembered=True)
    for order in ([wide, narrow], [narrow, wide]):
        assert judge(question, order).effect is DENY
        assert judge(asked("Bash", command("make it")), order).effect is ALLOW
    assert judge(question, [rule(ALLOW), narrow]).effect is DENY


def test_a_rule_is_about_its_tool_alone():
    assert judge(asked("Fetch", command("x")), [rule(ALLOW)]).effect is ASK
    assert judge(asked("mcp__x__read", {}), [rule(ALLOW, tool="mcp__*")]).effect is ALLOW
