"""The pages of docs/reference that come from the code say what the code says, and all of it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agentvine.config.channels import EmailSettings, NotificationSettings, TelegramSettings
from agentvine.config.settings import (
    ProviderSettings,
    QuestionSettings,
    QueueSettings,
    Settings,
    WorkerSettings,
)
from agentvine.kit.errors import AppError, Conflict
from tests.support.cli import Sandbox
from tools import gen_cli_doc, gen_errors_doc, gen_openapi, gen_settings_doc, gen_states_doc
from tools.gen_docs import PAGES
from tools.pages import FOLDER, Page, cell, meanings_of

GENERATED = re.compile(r"[Ww]ritten from .*not by hand", re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_what_the_code_says(page: Page, capsys: pytest.CaptureFixture[str]):
    assert page.main(["--check"]) == 0, capsys.readouterr().err


def test_every_page_that_calls_itself_generated_has_its_generator():
    known = {page.name for page in PAGES}
    claiming = {path.name for path in FOLDER.glob("*.md") if GENERATED.search(path.read_text())}

    assert claiming == {name for name in known if name.endswith(".md")}
    for page in PAGES:
        assert (FOLDER.parents[1] / f"{page.tool.replace('.', '/')}.py").exists(), page.tool


def test_a_page_that_is_out_of_date_is_refused_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    said = ["one"]
    page = Page("page.md", "tools.gen_page", lambda: said[0])
    folder = tmp_path / "reference"

    assert page.main(["--check"], folder) == 1
    assert "page.md is out of date: run `python -m tools.gen_page`" in capsys.readouterr().err
    assert not folder.exists()

    assert page.main([], folder) == 0
    assert page.main(["--check"], folder) == 0
    said[0] = "two"
    assert page.main(["--check"], folder) == 1
    assert page.main([], folder) == 0
    assert (folder / "page.md").read_text() == "two"


def test_a_bar_in_a_cell_does_not_end_it():
    assert cell("one|two\n  three") == r"one\|two three"


def test_every_error_code_stands_once_in_its_category_with_status_and_exit_code():
    errors = gen_errors_doc.all_errors()
    sections = gen_errors_doc.render().split("\n## ")

    assert len(errors) > 80
    for error in errors:
        if error.code == "git_error":
            continue  # the common base of git's errors, never raised itself
        [section] = [text for text in sections if f"\n| `{error.code}` |" in text]
        assert section.count(f"\n| `{error.code}` |") == 1
    conflicts = next(text for text in sections if text.startswith("Conflict"))
    lost = "| `lease_lost` | This claim is no longer yours: stop the run and discard it | 409 | 5 |"
    assert lost in conflicts
    assert "HTTP 409, exit code 5." in conflicts


def test_no_two_errors_share_a_code_but_those_that_mean_the_same():
    meanings: dict[str, set[str]] = {}
    for error in gen_errors_doc.all_errors():
        meanings.setdefault(error.code, set()).add(gen_errors_doc.title_of(error))

    assert {code: titles for code, titles in meanings.items() if len(titles) > 1} == {}


def test_an_error_class_of_somebody_else_is_no_error_of_ours():
    class Foreign(Conflict):
        """Not ours."""

        code = "foreign"

    assert Foreign in Conflict.__subclasses__()
    assert Foreign not in gen_errors_doc.all_errors()
    assert AppError not in gen_errors_doc.all_errors()


@pytest.mark.parametrize(
    ("model", "prefix"),
    [
        (Settings, "AGENTVINE_"),
        (QueueSettings, "AGENTVINE_QUEUE__"),
        (WorkerSettings, "AGENTVINE_WORKER__"),
        (ProviderSettings, "AGENTVINE_PROVIDERS__"),
        (QuestionSettings, "AGENTVINE_QUESTIONS__"),
        (NotificationSettings, "AGENTVINE_NOTIFICATIONS__"),
        (EmailSettings, "AGENTVINE_EMAIL__"),
        (TelegramSettings, "AGENTVINE_TELEGRAM__"),
    ],
)
def test_every_setting_has_its_line_and_its_meaning(model: type[BaseModel], prefix: str):
    page = gen_settings_doc.render()
    meanings = meanings_of(model)

    for name, field in model.model_fields.items():
        assert meanings.get(name), f"{model.__name__}.{name} does not say what it means"
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            [line] = re.findall(rf"^\| `{prefix}{name.upper()}` \|.*$", page, re.MULTILINE)
            assert meanings[name].split("|")[0][:40] in line


def test_limits_and_defaults_of_settings_are_shown():
    page = gen_settings_doc.render()

    assert "| `AGENTVINE_QUEUE__LONG_POLL_SECONDS` | number, ≥ 0, ≤ 55 | `30` |" in page
    assert "| one of `FULL`, `NORMAL` | `FULL` |" in page
    assert "MINIMUM_CONTAINMENT` | one of `namespace`, `cgroup`" in page
    assert "| `AGENTVINE_WORKER__PROCESSES` | whole number, ≥ 1, ≤ 100000 | |" in page


def test_every_command_has_its_section_with_all_its_options():
    page = gen_cli_doc.render()
    found = gen_cli_doc.commands()

    assert len(found) > 60
    for path, command in found.items():
        [section] = re.findall(rf"^#+ {path}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
        for option in gen_cli_doc.own_options(command):
            assert f"`{option.opts[0]}" in section, (path, option.opts)


def test_no_help_shows_the_marks_that_are_meant_for_click():
    assert [
        path for path, command in gen_cli_doc.commands().items() if "\\" in (command.help or "")
    ] == []
    assert '\n    agentvine run "Sort the imports" --repo .' in gen_cli_doc.render()


@pytest.mark.parametrize("machine", gen_states_doc.MACHINES, ids=lambda machine: machine.title)
def test_every_move_of_a_table_is_in_its_diagram_and_no_other(machine: gen_states_doc.Machine):
    page = gen_states_doc.render()
    section = page.partition(f"\n## {machine.title}\n")[2].partition("\n## ")[0]
    drawn = set(re.findall(r"^    (\w+) --> (\w+)$", section, re.MULTILINE))
    [states] = {type(state) for state in machine.begins}

    assert set(machine.moves) == {state.value for state in states}
    assert drawn == {(origin, to) for origin, there in machine.moves.items() for to in there}


def test_the_protocol_page_names_every_message_with_its_fields():
    document = json.loads(gen_openapi.render())
    page = (FOLDER / "worker-protocol.md").read_text()
    sections = {title: text for title, _, text in
                (part.partition("\n") for part in page.split("\n## ")[1:])}  # fmt: skip
    told = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if "protocol" not in operation.get("tags", ()):
                continue
            address = path.removeprefix("/api/v1/").replace("{execution_id}", "ID")
            address = address.replace("{question_id}", "QUESTION").replace("{chat_file_id}", "FILE")
            [text] = [text for title, text in sections.items()
                      if title.partition("?")[0] == f"{method.upper()} {address}"]  # fmt: skip
            for field in fields_of(document, operation):
                assert f"`{field}`" in text, (address, field)
            told += 1
    assert told >= 9


def fields_of(document: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    """The fields of a message's body, not those of what is inside them."""
    content = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if content is None:
        return []
    name = content["schema"]["$ref"].rpartition("/")[2]
    return list(document["components"]["schemas"][name]["properties"])


def test_the_committed_contract_is_what_the_command_prints(tmp_path: Path):
    done = Sandbox(tmp_path).run("openapi")

    assert done.exit_code == 0, done
    assert done.out == gen_openapi.render()
    assert "/api/v1/queue/claim" in json.loads(done.out)["paths"]
