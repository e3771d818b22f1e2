"""Who answers a question, before a person is asked. Pure: facts in, a verdict out.

The strictest rule that fits wins, with one exception: what somebody has answered, and had
remembered, outranks a rule that says to ask. Last comes the task's permission level.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentvine.domains.questions.enums import RuleEffect
from agentvine.domains.questions.matching import (
    allows,
    denies,
    input_hash,
    is_about_tool,
    lies_inside,
    path_of,
)
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.questions import QuestionKind

READING = frozenset(
    {"read", "grep", "glob", "ls", "list", "search", "think", "todowrite", "todoread"}
    | {"notebookread", "read_file", "read_many_files", "list_directory", "search_file_content"}
    | {"glob_files", "grep_search", "view", "find"}
)
"""Tools that change nothing and reach nobody, as the agents' programs call them."""
OWN_TOOLS = "mcp__agentvine__"
"""Our own tools: each says itself what the task's level allows."""
EDITING = frozenset(
    {"edit", "write", "multiedit", "notebookedit", "write_file", "replace", "edit_file"}
    | {"apply_patch", "create", "str_replace"}
)
"""Tools that change files: in the work tree that is what a run is for, and is reviewed anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question, as far as rules look at it."""

    kind: QuestionKind
    level: PermissionLevel
    tool: str | None = None
    tool_input: Mapping[str, Any] | None = None
    worktree: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRule:
    """A rule that is in force where the question is asked."""

    name: str
    effect: RuleEffect
    tool: str
    pattern: str | None
    input_hash: str | None = None
    reason: str = ""
    is_remembered: bool = False

    def fits(self, asked: Asked) -> bool:
        """Whether it is about this question."""
        if asked.kind is not QuestionKind.PERMISSION or not is_about_tool(self.tool, asked.tool):
            return False
        if self.pattern is None:
            return self.input_hash == input_hash(asked.tool_input)
        covers = allows if self.effect in {RuleEffect.ALLOW, RuleEffect.MODEL} else denies
        return covers(self.pattern, asked.tool_input)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who answers: the rule itself (allow, deny), a model, or a person (ask)."""

    effect: RuleEffect
    rule: str
    """Its name, for the record."""
    reason: str = ""
    """Told to who is asked, or to the agent."""


def judge(asked: Asked, rules: Sequence[KnownRule]) -> Verdict:
    """Who answers this question."""
    fitting = [rule for rule in rules if rule.fits(asked)]
    written = [rule for rule in fitting if not rule.is_remembered]
    remembered = [rule for rule in fitting if rule.is_remembered]
    for found in (
        _first(written, RuleEffect.DENY),
        _first(remembered, RuleEffect.DENY),
        _first(remembered, RuleEffect.ALLOW),
        _first(written, RuleEffect.ASK),
        _first(written, RuleEffect.MODEL),
        _first(written, RuleEffect.ALLOW),
    ):
        if found is not None:
            return Verdict(found.effect, found.name, found.reason)
    return _by_level(asked)


def _by_level(asked: Asked) -> Verdict:
    level = asked.level.value
    name = f"permission level {level}"
    if asked.kind is QuestionKind.QUESTION:
        return Verdict(RuleEffect.ASK, name, "Only a person knows.")
    if asked.level is PermissionLevel.AUTONOMOUS:
        return Verdict(RuleEffect.ALLOW, name)
    if asked.kind is QuestionKind.PLAN:
        return Verdict(RuleEffect.ASK, name, f"Plans of {level} tasks are approved by a person.")
    tool, path = (asked.tool or "").casefold(), path_of(asked.tool_input)
    is_inside = path is None or lies_inside(path, asked.worktree)
    is_own = tool.startswith(OWN_TOOLS)
    if is_own or (tool in READING and is_inside):
        rule = "AgentVine's own tools" if is_own else "tools that only read"
        return Verdict(RuleEffect.ALLOW, rule)
    is_edit = tool in EDITING and path is not None and is_inside
    if is_edit and asked.level is PermissionLevel.SUPERVISED:
        return Verdict(RuleEffect.ALLOW, "files of the work tree")
    return Verdict(RuleEffect.ASK, name, f"No rule answers this for a task that is {level}.")


def _first(rules: Iterable[KnownRule], effect: RuleEffect) -> KnownRule | None:
    return next((rule for rule in rules if rule.effect is effect), None)
