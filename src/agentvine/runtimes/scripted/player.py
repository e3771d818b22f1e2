"""The program that plays a script, speaking JSON lines on its standard streams.

Started by path with ``python -I -S``; it imports nothing of ours. It is told what to do by a line
``start``; then ``answer``, ``message`` and ``interrupt`` may come. What it says are lines with a
``type``; the last is ``result``.
"""

import json
import os
import queue
import re
import signal
import subprocess  # lint: allow AV011 (inside the run, without our code)
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn


class Interrupted(Exception):
    """The run is to end now."""


class Player:
    """Plays one script."""

    def __init__(self) -> None:
        """Begin to listen."""
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        self._answers: dict[str, dict[str, Any]] = {}
        self._messages: list[str] = []
        self._words: dict[str, str] = {}
        self._asked = 0
        self._tools: dict[str, Any] | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def play(self) -> None:
        """Play to the end."""
        start = self._next()
        script = start["script"]
        sessions = Path(start["sessions"]) if start["sessions"] else None
        resumed: str | None = start["resume"]
        is_known = sessions is not None and resumed is not None and (sessions / resumed).exists()
        if resumed is not None and (script["refuses_to_resume"] or not is_known):
            self._fail("resume_refused", f"there is no session {resumed}")
        session = resumed or os.urandom(16).hex()
        if sessions is not None:
            sessions.mkdir(parents=True, exist_ok=True)
            (sessions / session).touch()
        say(type="session", session_id=session, model=script["model"])
        self._words["session"] = session
        self._tools = start["tools"]
        again = script["resumed_steps"]
        try:
            self._play_all(again if resumed and again is not None else script["steps"])
        except Interrupted:
            self._fail("cancelled", "It was interrupted.")
        say(type="result", text="")

    def _play_all(self, steps: list[dict[str, Any]]) -> None:
        for number, step in enumerate(steps, start=1):
            [(kind, value)] = step.items()
            self._look_around()
            getattr(self, f"_do_{kind}")(value, number)

    def _do_say(self, text: str, _: int) -> None:
        say(type="text", text=self._fill(text))

    def _do_think(self, text: str, _: int) -> None:
        say(type="thinking", text=self._fill(text))

    def _do_write(self, value: dict[str, Any], number: int) -> None:
        text = self._fill(value["text"])

        def write(path: Path) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

        self._edit("Write", number, value["path"], write)

    def _do_replace(self, value: dict[str, Any], number: int) -> None:
        def replace(path: Path) -> None:
            before = path.read_text(encoding="utf-8")
            if value["old"] not in before:
                raise OSError(f"{value['path']} does not hold the text to replace")
            path.write_text(before.replace(value["old"], self._fill(value["new"])), "utf-8")

        self._edit("Edit", number, value["path"], replace)

    def _do_delete(self, name: str, number: int) -> None:
        self._edit("Delete", number, name, Path.unlink)

    def _edit(self, tool: str, number: int, name: str, change: Any) -> None:
        key = self._call(tool, number, {"file_path": name})
        path = Path(name)
        if not path.resolve().is_relative_to(Path.cwd().resolve()):
            say(type="tool_result", id=key, output="not allowed", is_error=True)
            self._fail("permission_denied", f"{name} is outside the work tree")
        try:
            change(path)
        except OSError as error:
            say(type="tool_result", id=key, output=str(error), is_error=True)
            self._fail("tool_failed", str(error))
        say(type="tool_result", id=key, output="done", is_error=False)

    def _do_run(self, command: str, number: int) -> None:
        command = self._fill(command)
        key = self._call("Bash", number, {"command": command})
        done = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = done.communicate()
        text = output.decode("utf-8", "replace")
        say(type="tool_result", id=key, output=text, is_error=done.returncode != 0)
        if done.returncode != 0:
            self._fail("tool_failed", f"{command} ended with exit code {done.returncode}")

    def _do_ask(self, value: dict[str, Any], _: int) -> None:
        told = self._ask("question", self._fill(value["text"]), options=value["options"])
        chosen = ", ".join(told["choices"])
        self._words[value["save"]] = chosen or told["text"]

    def _do_permit(self, value: dict[str, Any], _: int) -> None:
        text = f"May {value['tool']} be used?"
        told = self._ask("permission", text, tool=value["tool"], input=value["input"])
        self._play_all(value["allowed" if told["decision"] == "allow" else "denied"])

    def _do_plan(self, value: dict[str, Any], _: int) -> None:
        told = self._ask("plan", value["text"])
        self._play_all(value["allowed" if told["decision"] == "allow" else "denied"])

    def _do_tool(self, value: dict[str, Any], number: int) -> None:
        name, given = value["name"], value["input"]
        key = self._call(f"mcp__agentvine__{name}", number, given)
        text, is_error = call_tool(self._tools, name, given)
        say(type="tool_result", id=key, output=text, is_error=is_error)
        if is_error:
            self._fail("tool_failed", text)
        self._words[value["save"]] = text

    def _do_wait(self, seconds: float, _: int) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._look_around(min(left, 0.2))

    def _do_wait_for_message(self, _value: bool, _: int) -> None:
        while not self._messages:
            self._look_around(None)
        self._words["message"] = self._messages.pop(0)

    def _do_usage(self, value: dict[str, Any], _: int) -> None:
        say(type="usage", **value)

    def _do_fail(self, value: dict[str, Any], _: int) -> NoReturn:
        self._fail(value["class"], value["message"], value["retry_after_seconds"])

    def _do_crash(self, value: dict[str, Any], _: int) -> None:
        if value["signal"] is not None:
            os.kill(os.getpid(), value["signal"])
        os._exit(value["exit_code"])

    def _do_hang(self, _value: bool, _: int) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(3600)

    def _do_finish(self, text: str, _: int) -> NoReturn:
        say(type="result", text=self._fill(text))
        sys.exit(0)

    def _call(self, tool: str, number: int, given: dict[str, Any]) -> str:
        key = f"call-{number}-{os.urandom(4).hex()}"
        say(type="tool_call", id=key, name=tool, input=given)
        return key

    def _ask(self, kind: str, text: str, **more: Any) -> dict[str, Any]:
        self._asked += 1
        # The same in each attempt, so that an answer that came late is known for what it answers.
        key = f"{self._words['session']}-{self._asked}"
        say(type="question", key=key, kind=kind, text=text, **more)
        while key not in self._answers:
            self._look_around(None)
        return self._answers.pop(key)

    def _look_around(self, seconds: float | None = 0.0) -> None:
        """Take in what has been said; None waits until something is."""
        try:
            heard = self._heard.get(block=seconds != 0.0, timeout=seconds)
        except queue.Empty:
            return
        if heard["type"] == "answer":
            self._answers[heard["key"]] = heard
        elif heard["type"] == "message":
            self._messages.append(heard["text"])
        elif heard["type"] == "interrupt":
            raise Interrupted

    def _next(self) -> dict[str, Any]:
        return self._heard.get()

    def _listen(self) -> None:
        for line in sys.stdin:
            self._heard.put(json.loads(line))
        # Whoever speaks to us is gone.
        self._heard.put({"type": "interrupt"})

    def _fill(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: self._words.get(found[1], found[0]), text)

    def _fail(self, failure_class: str, message: str, after: float | None = None) -> NoReturn:
        say(type="error", failure_class=failure_class, message=message, retry_after_seconds=after)
        sys.exit(1)


def call_tool(tools: dict[str, Any] | None, name: str, given: dict[str, Any]) -> tuple[str, bool]:
    """What one of our own tools says, and whether that is an error: one request, no session."""
    import urllib.request  # noqa: PLC0415 - most plays need no network

    if tools is None:
        return "this run was given no tools", True
    params = {"name": name, "arguments": given}
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    kinds = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    request = urllib.request.Request(  # noqa: S310 - the server's own address
        tools["url"], json.dumps(message).encode(), {**kinds, **tools["headers"]}
    )
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310 - the server's own address
            told = _answer_in(response.read().decode())
    except OSError as error:
        return f"the tool could not be called: {error}", True
    if "error" in told:
        return str(told["error"].get("message")), True
    result = told["result"]
    return "\n".join(part["text"] for part in result["content"]), bool(result.get("isError"))


def _answer_in(body: str) -> Any:
    """The message of an answer, which comes as JSON or as the data of an event."""
    lines = [line.removeprefix("data:") for line in body.splitlines() if line.startswith("data:")]
    return json.loads(lines[-1] if lines else body)


def say(**record: object) -> None:
    """Print one line."""
    sys.stdout.write(json.dumps(record) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    Player().play()
