"""What the guide to teams says can be typed as it stands, and its example ends merged."""

import re
import shlex

import pytest

from tests.cli.conftest import Cli
from tests.support.documents import ROOT
from tests.support.repositories import Repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_BLOCK = re.compile(r"(?ms)^(?:`([\w.]+)`:\n\n)?```(\w+)\n(.*?)^```$")


def test_the_guide_to_teams(cli: Cli, repository: Repo):
    cli.ok("repo", "register", str(repository.path))
    guide = (ROOT / "docs" / "how-to" / "run-a-team.md").read_text()
    given = {"shop": str(repository.path)}
    outputs: dict[str, str] = {}
    for name, kind, text in _BLOCK.findall(guide):
        if name:
            path = repository.path.parent / name
            path.write_text(text)
            given[name] = str(path)
            continue
        assert kind == "sh"
        for line in text.splitlines():
            program, *words = shlex.split(line)
            assert program == "agentvine"
            told = [given.get(word, word) for word in words]
            if line.endswith("approve RUN"):
                # Its architect may still be at work, and then there is nothing to approve.
                assert cli(*told).exit_code in {0, 5}
                continue
            done = cli.ok(*told)
            outputs[" ".join(words[:3])] = done.out
            if found := re.search(r"team run ([0-9a-f-]{36})", done.out):
                given["RUN"] = found[1]

    merged = outputs["team run Greet people by their name."]
    assert "completed: merged into main" in merged
    assert repository.show("main", "greet.sh") == 'echo "Hello, $1!"'
    shown = outputs["team show RUN"]
    assert "Say goodbye, too." in shown
    assert "cancelled" in outputs["team cancel RUN"]
