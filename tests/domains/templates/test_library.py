"""The templates of the package: each makes a project whose own tests pass."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentvine.domains.templates import rendering
from agentvine.domains.templates.built_in import built_in_id, built_in_templates
from agentvine.protocol.templates import TemplateDocument

BY_NAME = {each.name: each for each in built_in_templates().values()}
QUOTES = 'It\'s "quoted" & <tagged>'


def write(template: TemplateDocument, folder: Path, **values: str) -> None:
    rendering.check(template)
    filled = rendering.fill_in(template.variables, values)
    for file in rendering.render(template, filled):
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)


def test_there_are_those_that_people_ask_for_and_ids_stay_what_they_are():
    assert {"fastapi-service", "python-library", "python-cli", "data-pipeline"} < set(BY_NAME)
    assert "static-site" in BY_NAME
    assert str(built_in_id("python-cli")) == "00000000-0000-8000-8056-300807547535"
    for name, template in BY_NAME.items():
        assert [each.name for each in template.variables if each.is_required] == ["name"], name
        assert template.description.endswith("."), name
        assert template.test_command, name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_the_tests_of_a_new_project_pass(name: str, tmp_path: Path):
    template = BY_NAME[name]
    about = "tagline" if name == "static-site" else "description"
    write(template, tmp_path, **{"name": "Bean-Counter2", about: QUOTES})

    assert template.test_command is not None
    assert template.test_command.startswith("python -m ")
    ended = subprocess.run(
        [sys.executable, *template.test_command.split()[1:]],
        cwd=tmp_path,
        # Plugins are those of this environment, not of theirs.
        env={"PATH": os.environ["PATH"], "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    checked = [str(Path(sys.executable).with_name("ruff")), "check", "--quiet", "."]
    lint = subprocess.run(checked, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert lint.returncode == 0, lint.stdout
