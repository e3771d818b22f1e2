"""What the guide to plans says can be typed as it stands."""

import re
import shlex

from tests.cli.conftest import Cli
from tests.support.documents import ROOT
from tests.support.repositories import Repo

_BLOCK = re.compile(r"(?ms)^(?:`([\w.]+)`:\n\n)?(`{3,4})(\w+)\n(.*?)^\2$")


def test_the_guide_to_plans(cli: Cli, repository: Repo):
    cli.ok("repo", "register", str(repository.path))
    guide = (ROOT / "docs" / "how-to" / "plan-work.md").read_text()
    files: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for name, _, kind, text in _BLOCK.findall(guide):
        if name:
            path = repository.path.parent / name
            path.write_text(text)
            files[name] = str(path)
            continue
        assert kind == "sh"
        for line in text.splitlines():
            program, *words = shlex.split(line)
            given = {"shop": str(repository.path), **files}
            done = cli.ok(*(given.get(word, word) for word in words))
            assert program == "agentvine"
            outputs[f"{words[1]} {words[2]}"] = done.out

    assert re.search(r"(?m)^ *check +Write its test", outputs["preview greeting"])
    assert len(re.findall(r"(?m)^T-\d", outputs["accept greeting"])) == 2
    assert repository.show("license", "LICENSE") == "MIT"
    shown = cli.ok("plan", "show", "greeting@1", "--repo", str(repository.path)).out
    assert '- run: {"command":"echo \'echo' in shown
    assert cli.ok("plan", "list", "--repo", str(repository.path)).out.count("greeting") == 2
