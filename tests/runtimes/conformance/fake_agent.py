"""A small agent that speaks the language of a real one, and plays scenes instead of thinking.

Started by path with ``python -I -S``, as the program of some agent; it imports nothing of ours. Its
first argument is the language, the second a folder for its sessions; the rest is what the runtime
gave to the agent. Which scene it plays, its prompt says: ``Play edits.``
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, NoReturn

Json = dict[str, Any]
USED = {"input": 30, "output": 12}
RESETS_AT = 4_000_000_000


class Voice:
    """What scenes need of a language."""

    session: str
    is_resumed = False
    scene = ""
    prompt_text = ""

    def __init__(self, sessions: Path, arguments: list[str]) -> None:
        self.sessions = sessions
        self.arguments = arguments
        self.number = 0

    def next(self) -> Json:
        line = sys.stdin.readline()
        if not line:
            sys.exit(0)
        return json.loads(line)

    def new_id(self) -> str:
        self.number += 1
        return f"n-{self.number}"

    def begin(self, resume: str | None) -> bool:
        """Take up a session, or begin one; False where it is not known."""
        self.sessions.mkdir(parents=True, exist_ok=True)
        if resume is not None and not (self.sessions / resume).exists():
            return False
        self.session, self.is_resumed = resume or str(uuid.uuid4()), resume is not None
        return True

    def find_tools(self) -> str:
        """What it is told of servers of tools, in the words of its language."""
        places = [Path.home() / ".qwen" / "settings.json"]
        if "CODEX_HOME" in os.environ:
            places.append(Path(os.environ["CODEX_HOME"]) / "config.toml")
        if "--mcp-config" in self.arguments:
            places.append(Path(self.arguments[self.arguments.index("--mcp-config") + 1]))
        return "\n".join(place.read_text() for place in places if place.exists())

    def find_scene(self, prompt: str) -> str:
        """The scene that a prompt names; without a name it is the session's."""
        self.prompt_text = prompt
        kept = self.sessions / self.session
        named = re.search(r"Play (\w+)\.", prompt)
        if named is not None:
            kept.write_text(named[1])
        return kept.read_text()

    def say(self, text: str) -> None:
        raise NotImplementedError

    def call(self, tool: str, given: Json) -> str:
        raise NotImplementedError

    def result(self, call: str, output: str, *, is_denied: bool = False) -> None:
        raise NotImplementedError

    def use(self, share: float) -> None:
        """Tell of usage so far, where the language does that on the way."""

    def ask(self, text: str, options: list[str]) -> str:
        raise NotImplementedError

    def permit(self, call: str, tool: str, given: Json) -> bool:
        raise NotImplementedError

    def hear(self) -> str:
        raise NotImplementedError

    def fail_for_limit(self) -> NoReturn:
        raise NotImplementedError


def play_edits(voice: Voice) -> None:
    call = voice.call("Write", {"file_path": "hello.txt"})
    Path("hello.txt").write_text("hello\n")
    voice.result(call, "done")
    voice.use(0.5)
    voice.say("It is written.")
    voice.use(1)


def play_crash(voice: Voice) -> None:
    voice.say("hm")
    os._exit(0 if voice.scene == "ends_early" else 3)


def play_wants(voice: Voice) -> None:
    given = {"command": "touch allowed.txt"}
    call = voice.call("Bash", given)
    if voice.permit(call, "Bash", given):
        Path("allowed.txt").touch()
        voice.result(call, "done")
    else:
        voice.result(call, "not allowed", is_denied=True)
    voice.say("that was it")


def play_hangs(_: Voice) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    nowhere = subprocess.DEVNULL
    argv = ["setsid", "sh", "-c", "echo $$ > pid.txt; exec sleep 600"]
    subprocess.Popen(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    while True:
        signal.pause()


def play_session(voice: Voice) -> None:
    Path("prompt.txt").write_text(voice.prompt_text)
    voice.say("resumed" if voice.is_resumed else "anew")


def look_around(voice: Voice) -> None:
    lines = [f"{name}={value}" for name, value in os.environ.items()]
    Path("environment.txt").write_text("\n".join(lines))
    Path("tools.txt").write_text(voice.find_tools())


SCENES = {
    "edits": play_edits,
    "fails": lambda voice: voice.fail_for_limit(),
    "ends_early": play_crash,
    "crashes": play_crash,
    "asks": lambda voice: Path("colour.txt").write_text(
        voice.ask("Which colour?", ["Red", "Blue"])
    ),
    "wants": play_wants,
    "listens": lambda voice: Path("heard.txt").write_text(voice.hear()),
    "hangs": play_hangs,
    "goes_on": play_session,
    "forgets": play_session,
    "looks_around": look_around,
}


def play(voice: Voice) -> None:
    """One scene, up to its last word, which is the language's."""
    SCENES[voice.scene](voice)


def send(**message: Any) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


class StreamJson(Voice):
    """Claude Code's lines; Qwen Code's, where it is greeted first."""

    def run(self) -> None:
        resume: str | None = None
        for at, each in enumerate(self.arguments):
            if each.startswith("--resume"):
                resume = each.partition("=")[2] or self.arguments[at + 1]
        if not self.begin(resume):
            sys.stderr.write(f"No conversation found with session ID: {resume}\n")
            sys.exit(1)
        message = self.next()
        if message["type"] == "control_request":
            self.respond(message, {})
            message = self.next()
        self.scene = self.find_scene(message["message"]["content"])
        send(type="system", subtype="init", session_id=self.session, model="m-1")
        play(self)
        used = {"inputTokens": USED["input"], "outputTokens": USED["output"]}
        self.end(subtype="success", is_error=False, result="done", modelUsage={"m-1": used})

    def end(self, **told: Any) -> NoReturn:
        send(type="result", session_id=self.session, **told)
        sys.exit(0)

    def respond(self, message: Json, said: Json) -> None:
        response = {"subtype": "success", "request_id": message["request_id"], "response": said}
        send(type="control_response", response=response)

    def say(self, text: str) -> None:
        send(type="assistant", message={"content": [{"type": "text", "text": text}]})

    def call(self, tool: str, given: Json) -> str:
        block = {"type": "tool_use", "id": self.new_id(), "name": tool, "input": given}
        send(type="assistant", message={"content": [block]})
        return block["id"]

    def result(self, call: str, output: str, *, is_denied: bool = False) -> None:
        block = {"type": "tool_result", "tool_use_id": call, "content": output}
        send(type="user", message={"content": [block | {"is_error": is_denied}]})

    def request(self, tool: str, call: str, given: Json) -> Json:
        asked = {"subtype": "can_use_tool", "tool_name": tool, "input": given, "tool_use_id": call}
        send(type="control_request", request_id=f"r-{call}", request=asked)
        while True:
            message = self.next()
            if message["type"] == "control_response":
                return message["response"]["response"]
            if message.get("request", {}).get("subtype") == "interrupt":
                self.end(
                    subtype="error_during_execution",
                    is_error=True,
                    terminal_reason="aborted_tools",
                )

    def ask(self, text: str, options: list[str]) -> str:
        about = {"question": text, "options": [{"label": each} for each in options]}
        answer = self.request("AskUserQuestion", self.new_id(), {"questions": [about]})
        return answer["updatedInput"]["answers"][text]

    def permit(self, call: str, tool: str, given: Json) -> bool:
        return self.request(tool, call, given)["behavior"] == "allow"

    def hear(self) -> str:
        message = self.next()
        send(**message, isReplay=True)
        return message["message"]["content"]

    def fail_for_limit(self) -> NoReturn:
        info = {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": RESETS_AT}
        send(type="rate_limit_event", rate_limit_info=info)
        self.end(subtype="success", is_error=True, api_error_status=429, result="too much")


class Rpc(Voice):
    """What the languages over JSON-RPC have in common."""

    is_cancelled = False

    def ask_client(self, method: str, params: Json) -> Json | None:
        """The client's answer; None where it wants the turn ended instead."""
        number = self.new_id()
        send(jsonrpc="2.0", id=number, method=method, params=params)
        while True:
            message = self.next()
            if message.get("id") == number and "method" not in message:
                return message["result"]
            self.take(message)
            if self.is_cancelled:
                return None

    def go_where_told(self, message: Json) -> None:
        """A session's folder is what the client names, wherever the program was started."""
        if folder := message.get("params", {}).get("cwd"):
            os.chdir(folder)

    def take(self, message: Json) -> None:
        """Something else that comes while it waits."""
        raise NotImplementedError

    def tell(self, method: str, /, **params: Any) -> None:
        send(jsonrpc="2.0", method=method, params=params)

    def answer(self, message: Json, result: Json) -> None:
        send(jsonrpc="2.0", id=message["id"], result=result)

    def refuse(self, message: Json, text: str, **data: Any) -> None:
        error = {"code": -32603, "message": text, "data": data}
        send(jsonrpc="2.0", id=message["id"], error=error)


class Ended(Exception):
    """The turn is over before its scene is."""


class Acp(Rpc):
    """The Agent Client Protocol."""

    tools = ""

    def find_tools(self) -> str:
        return self.tools

    def run(self) -> None:
        while True:
            message = self.next()
            if servers := message.get("params", {}).get("mcpServers"):
                self.tools = json.dumps(servers)
            self.go_where_told(message)
            match message.get("method"):
                case "initialize":
                    able = {"loadSession": True, "mcpCapabilities": {"http": True}}
                    self.answer(message, {"protocolVersion": 1, "agentCapabilities": able})
                case "session/new":
                    self.begin(None)
                    self.answer(message, {"sessionId": self.session})
                case "session/load":
                    if self.begin(message["params"]["sessionId"]):
                        self.answer(message, {})
                    else:
                        self.refuse(message, "Session not found")
                case "session/prompt":
                    self.prompt(message)
                case _:
                    if "id" in message:
                        self.answer(message, {})

    def prompt(self, message: Json) -> None:
        text = message["params"]["prompt"][0]["text"]
        usage = {"inputTokens": USED["input"], "outputTokens": USED["output"]}
        if self.scene == "listens":
            Path("heard.txt").write_text(text)
            self.answer(message, {"stopReason": "end_turn", "usage": usage})
            return
        self.scene = self.find_scene(text)
        try:
            play(self)
        except Ended as ended:
            if ended.args:
                self.refuse(message, str(ended))
            else:
                self.answer(message, {"stopReason": "cancelled"})
            return
        self.answer(message, {"stopReason": "end_turn", "usage": usage})

    def take(self, message: Json) -> None:
        self.is_cancelled = self.is_cancelled or message.get("method") == "session/cancel"

    def update(self, kind: str, /, **more: Any) -> None:
        self.tell("session/update", sessionId=self.session, update={"sessionUpdate": kind, **more})

    def say(self, text: str) -> None:
        content = {"type": "text", "text": text}
        self.update("agent_message_chunk", messageId=self.new_id(), content=content)

    def call(self, tool: str, given: Json) -> str:
        call = self.new_id()
        self.update("tool_call", toolCallId=call, title=tool, kind="execute", rawInput=given)
        return call

    def result(self, call: str, output: str, *, is_denied: bool = False) -> None:
        status = "failed" if is_denied else "completed"
        self.update("tool_call_update", toolCallId=call, status=status, rawOutput=output)

    def ask(self, text: str, options: list[str]) -> str:
        form = {"type": "object", "properties": {"q": {"type": "string", "enum": options}}}
        about = {"sessionId": self.session, "mode": "form", "message": text}
        told = self.ask_client("elicitation/create", {**about, "requestedSchema": form})
        if told is None or told["action"] == "cancel":
            raise Ended
        return told["content"]["q"]

    def permit(self, call: str, tool: str, given: Json) -> bool:
        options = [
            {"optionId": f"o-{kind}", "kind": kind, "name": kind}
            for kind in ("allow_always", "allow_once", "reject_once")
        ]
        about = {"toolCallId": call, "title": tool, "kind": "execute", "rawInput": given}
        told = self.ask_client(
            "session/request_permission",
            {"sessionId": self.session, "toolCall": about, "options": options},
        )
        if told is None or told["outcome"]["outcome"] == "cancelled":
            raise Ended
        return told["outcome"]["optionId"] == "o-allow_once"

    def hear(self) -> str:
        # Words come as the next prompt: this one ends when they are known to wait.
        while not Path("words-wait").exists():
            time.sleep(0.02)
        return "nothing yet"

    def fail_for_limit(self) -> NoReturn:
        raise Ended("429 Too Many Requests: rate limit reached")


class AppServer(Rpc):
    """Codex's app server."""

    turn = ""
    text = ""

    def run(self) -> None:
        while True:
            message = self.next()
            self.go_where_told(message)
            match message.get("method"):
                case "thread/start":
                    self.begin(None)
                    self.answer(message, {"thread": {"id": self.session}, "model": "m-1"})
                case "thread/resume":
                    if self.begin(message["params"]["threadId"]):
                        self.answer(message, {"thread": {"id": self.session}, "model": "m-1"})
                    else:
                        self.refuse(message, "no rollout found for thread id")
                case "turn/start":
                    self.start(message)
                case _:
                    if "id" in message:
                        self.answer(message, {})

    def start(self, message: Json) -> None:
        self.turn = self.new_id()
        self.scene = self.find_scene(message["params"]["input"][0]["text"])
        self.answer(message, {"turn": {"id": self.turn, "status": "inProgress", "items": []}})
        self.notify("turn/started", turn={"id": self.turn})
        ended: Json = {"status": "completed"}
        try:
            play(self)
        except Ended as early:
            ended = early.args[0] if early.args else {"status": "interrupted"}
        self.notify("turn/completed", turn={"id": self.turn, "items": [], **ended})

    def notify(self, method: str, /, **params: Any) -> None:
        self.tell(method, threadId=self.session, turnId=self.turn, **params)

    def take(self, message: Json) -> None:
        match message.get("method"):
            case "turn/interrupt":
                self.is_cancelled = True
                self.answer(message, {})
            case "turn/steer":
                assert message["params"]["expectedTurnId"] == self.turn
                self.text = message["params"]["input"][0]["text"]
                self.answer(message, {"turnId": self.turn})
            case _:
                pass

    def say(self, text: str) -> None:
        item = {"type": "agentMessage", "id": self.new_id(), "text": text}
        self.notify("item/started", item=item | {"text": ""})
        self.notify("item/completed", item=item)

    def call(self, tool: str, given: Json) -> str:
        item: Json = {"id": self.new_id(), "status": "inProgress", "cwd": str(Path.cwd())}
        if tool == "Write":
            item |= {"type": "fileChange", "changes": [{"path": given["file_path"], "diff": ""}]}
        else:
            item |= {"type": "commandExecution", "command": given["command"]}
        self.item = item
        self.notify("item/started", item=item)
        return item["id"]

    def result(self, call: str, output: str, *, is_denied: bool = False) -> None:
        status = "declined" if is_denied else "completed"
        ended = {**self.item, "status": status, "aggregatedOutput": output, "exitCode": 0}
        self.notify("item/completed", item=ended)

    def use(self, share: float) -> None:
        # Each time for the whole thread, and for the last call.
        told = {"inputTokens": int(USED["input"] * share), "cachedInputTokens": 0}
        told |= {"outputTokens": int(USED["output"] * share), "reasoningOutputTokens": 0}
        self.notify("thread/tokenUsage/updated", tokenUsage={"total": told, "last": told})

    def ask(self, text: str, options: list[str]) -> str:
        about = {"id": "q", "header": "q", "question": text, "isOther": False}
        about["options"] = [{"label": each, "description": ""} for each in options]
        params = {"itemId": self.new_id(), "isBlocking": True, "questions": [about]}
        told = self.ask_client("item/tool/requestUserInput", self.of_turn(params))
        if told is None:
            raise Ended
        return told["answers"]["q"]["answers"][0]

    def permit(self, call: str, tool: str, given: Json) -> bool:
        params = {"itemId": call, "startedAtMs": 0, **given}
        told = self.ask_client("item/commandExecution/requestApproval", self.of_turn(params))
        if told is None:
            raise Ended
        return told["decision"] == "accept"

    def hear(self) -> str:
        while not self.text:
            self.take(self.next())
        return self.text

    def of_turn(self, params: Json) -> Json:
        return {"threadId": self.session, "turnId": self.turn, **params}

    def fail_for_limit(self) -> NoReturn:
        window = {"usedPercent": 100, "resetsAt": RESETS_AT}
        self.tell("account/rateLimits/updated", rateLimits={"limitId": "x", "primary": window})
        error = {"message": "too much", "codexErrorInfo": "rateLimitExceeded"}
        raise Ended({"status": "failed", "error": error})


VOICES = {"stream-json": StreamJson, "acp": Acp, "app-server": AppServer}

if __name__ == "__main__":
    language, folder, *rest = sys.argv[1:]
    if rest == ["--version"]:
        sys.stdout.write("1.0.0\n")
    else:
        VOICES[language](Path(folder), rest).run()
