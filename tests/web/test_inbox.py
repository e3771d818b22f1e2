"""What agents ask, on pages: seen by who may see it, answered by who may answer."""

import asyncio
import re
import uuid
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from starlette.routing import Route

from agentvine.domains.conversations.models import ChatMessage
from agentvine.protocol.enums import UserRole
from agentvine.web.routes import page_routes
from tests.support.api import Api, Caller
from tests.support.browser import SITE, Browser, browser, seen
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS = [{"label": "tabs"}, {"label": "blanks", "description": "four of them"}]
PUSH = {"kind": "permission", "tool_name": "Bash", "tool_input": {"command": "git push"}}
DIFF = "--- a/x.py\n+++ b/x.py\n@@ -1 +1 @@\n-old\n+new\n"
HOSTILE = """<script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}"""


class Asking:
    """A run that asks, its owner's browser, and the page of what it asked last."""

    def __init__(self, space: Space, worker: WireWorker, order: Json, owner: Browser) -> None:
        self.space, self.worker, self.order, self.owner = space, worker, order, owner
        self.question: Json = {}

    @property
    def path(self) -> str:
        return f"/questions/{self.question['id']}"

    async def ask(self, text: str = "Tabs or blanks?", **more: Any) -> Json:
        path = f"/executions/{self.order['execution_id']}/questions"
        body = claim_of(self.order) | {"key": unique("key"), "text": text, **more}
        self.question = await self.worker.caller.post(path, body)
        return self.question

    async def send(self, do: str, who: Browser | None = None, **form: Any) -> httpx2.Response:
        """Press a button of the form."""
        return await (who or self.owner).send(f"{self.path}/answer", {"do": do, **form})

    async def now(self) -> Json:
        return await self.space.owner.get(self.path)


async def start(api: Api, *, able: Json | None = None, **task: Any) -> Asking:
    space = await make_space(api)
    await space.task(**task)
    worker = await space.worker(**({"controls": able} if able else {}))
    owner = await browser(api, space.owner.user)
    return Asking(space, worker, await worker.claim_one(), owner)


async def member(api: Api, space: Space, role: UserRole) -> Caller:
    """Somebody who may look at the project."""
    person = await api.person(unique("member"), role)
    assert person.user is not None
    body = {"username": person.user.username, "role": "viewer"}
    answer = await space.owner.call("PUT", f"/projects/{space.project_id}/members", json=body)
    assert answer.is_success, answer.text
    return person


async def test_what_is_asked_is_listed_with_all_that_helps_to_judge_it(shared_api: Api):
    run = await start(shared_api, title="Tidy the imports")
    empty = seen(await run.owner.get("/inbox"))
    assert "Nobody asks you anything" in empty.words
    assert "agentvine run" in empty.words

    await run.ask("Tabs or blanks?", options=OPTIONS)
    await run.ask("", **PUSH)
    answer = await run.owner.get("/inbox")

    page = seen(answer)
    project = await run.space.owner.get(f"/projects/{run.space.project_id}")
    for words in (
        "Question T-1 Tidy the imports",
        "Tabs or blanks?",
        "Permission",
        "Bash: git push",
    ):
        assert words in page.words
    assert project["name"] in page.words
    assert "asked just now" in page.words
    assert [link for link in page.links if link.startswith("/questions/")][-1] == run.path
    assert "(2) Inbox" in answer.text


async def test_a_long_inbox_is_read_page_by_page(shared_api: Api):
    run = await start(shared_api)
    for number in range(52):
        await run.ask(f"Number {number}?")

    first = await run.owner.get("/inbox")
    [link] = [link for link in seen(first).links if "cursor" in link]
    second = seen(await run.owner.get(link))

    assert "(50+) Inbox" in first.text
    assert "Number 51?" in second.words
    assert "Number 49?" not in second.words
    assert (await run.owner.get("/inbox?cursor=nonsense")).status_code == 422


async def test_a_question_is_answered_with_a_choice_and_words(shared_api: Api):
    run = await start(shared_api)
    await run.ask("Tabs or blanks?", options=OPTIONS, default_option="tabs")
    page = seen(await run.owner.get(run.path))
    assert [each["value"] for each in page.fields["choice"]] == ["tabs", "blanks"]
    assert {each["type"] for each in page.fields["choice"]} == {"radio"}
    assert [each["value"] for each in page.fields["do"]] == ["answer", "deny"]
    assert "tabs (taken if nobody answers)" in page.words
    assert "four of them" in page.words

    answer = await run.send("answer", choice="blanks", text="Four,\r\nplease.")

    told = (await run.now())["answer"]
    assert (told["decision"], told["choices"], told["text"]) == (
        "answer",
        ["blanks"],
        "Four,\nplease.",
    )
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/inbox?told={run.question['id']}",
    )
    there = seen(await run.owner.get(answer.headers["location"]))
    assert run.space.owner.user is not None
    assert f"T-1 is told. {run.space.owner.user.username}: blanks" in there.words
    after = seen(await run.owner.get(run.path))
    assert "do" not in after.fields
    assert "Four, please." in after.words


async def test_several_may_be_chosen_where_the_agent_says_so(shared_api: Api):
    run = await start(shared_api)
    await run.ask(options=OPTIONS, allows_several=True, allows_text=False)
    page = seen(await run.owner.get(run.path))
    assert {each["type"] for each in page.fields["choice"]} == {"checkbox"}
    assert "text" not in page.fields

    await run.send("answer", choice=["tabs", "blanks"])

    assert (await run.now())["answer"]["choices"] == ["tabs", "blanks"]


@pytest.mark.parametrize(
    ("pressed", "decision", "remembered"),
    [
        ("allow", "allow", None),
        ("allow-run", "allow", "run"),
        ("allow-task", "allow", "task"),
        ("allow-project", "allow", "project"),
        ("deny", "deny", None),
    ],
)
async def test_a_permission_is_given_as_far_as_was_pressed(
    shared_api: Api, pressed: str, decision: str, remembered: str | None
):
    run = await start(shared_api)
    await run.ask("Push it?", **PUSH, diff=DIFF)
    page = seen(await run.owner.get(run.path))
    assert pressed in [each["value"] for each in page.fields["do"]]
    assert "Bash git push" in page.words
    assert "-old +new" in page.words

    await run.send(pressed, text="as I said")

    told = (await run.now())["answer"]
    assert (told["decision"], told["remember"], told["text"]) == (decision, remembered, "as I said")
    rules = await run.space.owner.get(f"/projects/{run.space.project_id}/answer-rules")
    assert len(rules) == (remembered is not None)


async def test_a_plan_is_approved_or_sent_back_with_words(shared_api: Api):
    run = await start(shared_api)
    await run.ask("1. Look. 2. Mend.", kind="plan")
    page = seen(await run.owner.get(run.path))
    assert [each["value"] for each in page.fields["do"]] == ["allow", "deny"]

    await run.send("deny", text="First the tests.")

    told = (await run.now())["answer"]
    assert (told["decision"], told["text"]) == ("deny", "First the tests.")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"do": "answer"}, "Choose, or write something."),
        ({"do": "answer", "text": "  \n"}, "Choose, or write something."),
        ({"do": "answer", "choice": "spaces", "text": "kept"}, "spaces: choose from tabs, blanks."),
        ({"do": "answer", "choice": ["tabs", "blanks"], "text": "kept"}, "Choose one option."),
        ({"do": "allow", "text": "kept"}, "A question is answered, or denied."),
        ({"do": "allow-run", "text": "kept"}, "A question is answered, or denied."),
        ({"do": "answer", "text": "x" * 20_001}, "at most 20000 characters"),
        ({"do": "else", "text": "kept"}, "Press one of the buttons."),
        ({}, "Press one of the buttons."),
    ],
)
async def test_what_does_not_fit_is_told_and_what_was_written_is_kept(
    shared_api: Api, form: dict[str, Any], said: str
):
    run = await start(shared_api)
    await run.ask(options=OPTIONS)

    answer = await run.owner.send(f"{run.path}/answer", form)

    assert answer.status_code == 422
    page = seen(answer)
    assert said in page.words
    assert form.get("text", "").strip() in page.words
    assert (await run.now())["state"] == "open"


async def test_the_first_answer_counts_and_others_see_whose_it_was(shared_api: Api):
    run = await start(shared_api)
    await run.ask()
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    assert admin.user is not None
    await run.send("answer", await browser(shared_api, admin.user), text="tabs")

    answer = await run.send("answer", text="blanks")

    assert answer.status_code == 409
    assert f"{admin.user.username} was first (answer: tabs)" in seen(answer).words
    assert (await run.now())["answer"]["text"] == "tabs"


async def test_an_answer_sent_twice_is_one_answer(shared_api: Api):
    run = await start(shared_api)
    await run.ask()
    both = await asyncio.gather(run.send("answer", text="tabs"), run.send("answer", text="tabs"))
    assert [each.status_code for each in both] == [303, 303]


async def test_hostile_words_are_shown_and_never_run(shared_api: Api):
    run = await start(shared_api, title=f"title {HOSTILE}")
    await run.ask(f"text {HOSTILE}", options=[{"label": f"o {HOSTILE}", "description": HOSTILE}])
    asked = run.question
    await run.ask("", kind="permission", tool_name=HOSTILE, tool_input={"x": HOSTILE}, diff=HOSTILE)
    pages = [await run.owner.get(path) for path in ("/inbox", run.path)]
    run.question = asked
    pages += [await run.owner.get(run.path), await run.send("else", text=f"</textarea>{HOSTILE}")]
    await run.send("answer", text=HOSTILE)
    pages += [await run.owner.get(run.path), await run.owner.get(f"/inbox?told={asked['id']}")]

    for answer in pages:
        page = seen(answer)
        assert page.unsafe == []
        assert not {"img", "iframe", "object"} & set(page.tags)
        assert page.tags.count("script") == answer.text.count('<script src="/static/live.js?')
        assert "alert(1)" in page.words
        assert "49" not in re.sub(r"[0-9a-f-]{36}", "", answer.text), "nothing is worked out"


async def test_every_page_says_what_browsers_may_do_with_it(shared_api: Api):
    run = await start(shared_api)
    await run.ask()
    nobody = await browser(shared_api)
    unknown = f"/questions/{uuid.UUID(int=0)}"
    answers = [await run.owner.get(path) for path in ("/", "/inbox", run.path, unknown)]
    answers += [await nobody.get(path) for path in ("/sign-in", "/inbox")]
    answers.append(await run.owner.http.post("/sign-out"))

    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_files_of_a_page_may_be_kept_and_no_others_are_there(shared_api: Api):
    nobody = await browser(shared_api)
    page = (await nobody.get("/sign-in")).text
    [style] = re.findall(r'rel="stylesheet" href="(/static/[^"]+)"', page)
    answer = await nobody.get(style)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "immutable" in answer.headers["cache-control"]
    for name in ("base.html", "..%2fapp.py", "style.css%00"):
        assert (await nobody.get(f"/static/{name}")).status_code in {404, 422}


PUBLIC = {"/", "/sign-in", "/static/{name}"}
LOOKS = ("/inbox", "/inbox/list", "/inbox/changes", "{path}", "{path}/attachments/{file}")
FORMS = ("/sign-out", "{path}/answer")


async def test_every_page_is_asked_for_here_by_everybody():
    of_question = {"path": "/questions/{question_id:uuid}", "file": "{chat_file_id:uuid}"}
    here = {path.format(**of_question) for path in (*LOOKS, *FORMS)}
    assert {route.path for route in page_routes() if isinstance(route, Route)} == here | PUBLIC


@pytest.mark.parametrize("path", [*LOOKS, *FORMS])
async def test_a_stranger_is_asked_to_sign_in_first(shared_api: Api, path: str):
    run = await start(shared_api)
    await run.ask()
    where = path.format(path=run.path, file=uuid.UUID(int=0))
    stranger = await browser(shared_api)

    is_form = path in FORMS
    form = {"do": "answer", "text": "tabs"}
    answer = await (stranger.send(where, form) if is_form else stranger.get(where))

    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in?to=")
    assert (await run.now())["state"] == "open"


async def test_an_outsider_sees_nothing_of_it(shared_api: Api):
    run = await start(shared_api, title="Not for everybody")
    await run.ask("A secret?")
    outsider = await browser(shared_api, (await shared_api.person(unique("outsider"))).user)

    for path in ("/inbox", f"/inbox?told={run.question['id']}", "/inbox/list"):
        assert "secret" not in (await outsider.get(path)).text
    for path in (run.path, f"{run.path}/attachments/{uuid.UUID(int=0)}"):
        answer = await outsider.get(path)
        assert answer.status_code == 404
        assert "secret" not in answer.text
    assert (await run.send("answer", outsider, text="mine")).status_code == 404
    assert (await run.now())["state"] == "open"


@pytest.mark.parametrize("role", [UserRole.VIEWER, UserRole.DEVELOPER])
async def test_who_may_only_look_looks_and_does_not_answer(shared_api: Api, role: UserRole):
    run = await start(shared_api)
    await run.ask("A secret?")
    looking = await browser(shared_api, (await member(shared_api, run.space, role)).user)

    assert "A secret?" in seen(await looking.get("/inbox")).words
    assert "A secret?" in seen(await looking.get(run.path)).words
    answer = await run.send("answer", looking, text="mine")
    assert answer.status_code == 403
    assert seen(answer).tags.count("h1") == 1
    assert (await run.now())["state"] == "open"


async def test_files_that_went_along_are_saved_and_never_shown(shared_api: Api):
    run = await start(shared_api, able={"takes_files": True})
    await run.ask()
    body = await run.space.owner.call(
        "POST", f"{run.path}/attachments", params={"name": "a <b>.html"}, content=b"<script>"
    )
    assert body.status_code == 201, body.text
    file = body.json()["id"]
    await run.space.owner.post(f"{run.path}/answer", {"text": "see", "attachments": [file]})

    page = seen(await run.owner.get(run.path))
    path = f"{run.path}/attachments/{file}"
    answer = await run.owner.get(path)

    assert path in page.links
    assert "a <b>.html" in page.words
    assert answer.content == b"<script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_an_expired_question_is_shown_as_over(shared_api: Api):
    run = await start(shared_api)
    await run.ask(expires_in_seconds=3600)
    assert "expires in" in seen(await run.owner.get(run.path)).words
    await run.worker.caller.post(
        f"/executions/{run.order['execution_id']}{run.path}/withdraw", claim_of(run.order)
    )

    page = seen(await run.owner.get(run.path))

    assert "Nobody waits for it any more" in page.words
    assert "do" not in page.fields
    assert (await run.send("answer", text="late")).status_code == 409


async def test_changes_are_told_without_words(shared_api: Api):
    run = await start(shared_api)
    await run.ask("A secret?")
    shared_api.state.stopping.set()  # the stream tells what is open, and ends
    try:
        answer = await run.owner.get("/inbox/changes")
    finally:
        shared_api.state.stopping.clear()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == "event: changed\ndata: \n\n"
    part = await run.owner.get("/inbox/list")
    assert "A secret?" in seen(part).words
    assert "<html" not in part.text


async def test_a_form_that_is_none_is_refused(shared_api: Api):
    run = await start(shared_api)
    await run.ask()
    headers = {"Origin": SITE, "Content-Type": "application/x-www-form-urlencoded"}
    many = "&".join(f"a{number}=1" for number in range(300))
    for body in ("\u00e9".encode(), many.encode(), b"text=%00&do=answer", b"text=%ff&do=answer"):
        answer = await run.owner.http.post(f"{run.path}/answer", content=body, headers=headers)
        assert answer.status_code == 422
        assert "cannot be read" in seen(answer).words
    large = b"text=" + b"x" * (9 * 1024 * 1024)
    answer = await run.owner.http.post(f"{run.path}/answer", content=large, headers=headers)
    assert answer.status_code == 413
    assert (await run.now())["state"] == "open"


async def test_a_question_of_long_ago_says_so(shared_api: Api):
    run = await start(shared_api)
    await run.ask()
    before = shared_api.state.clock.now() - timedelta(days=3, minutes=1)
    is_it = ChatMessage.id == uuid.UUID(run.question["id"])
    async with shared_api.database.transaction() as tx:
        await tx.execute(update(ChatMessage).where(is_it).values(created_at=before))
    assert "asked 3 days ago" in seen(await run.owner.get(run.path)).words
