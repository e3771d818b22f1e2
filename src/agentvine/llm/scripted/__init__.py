"""Models that say what a script tells them to: for tests, the tutorial and the demo."""

from agentvine.llm.scripted.script import Script, ScriptInvalid, load_script, parse_script
from agentvine.llm.scripted.upstream import Received, ScriptedUpstream

__all__ = [
    "Received",
    "Script",
    "ScriptInvalid",
    "ScriptedUpstream",
    "load_script",
    "parse_script",
]
