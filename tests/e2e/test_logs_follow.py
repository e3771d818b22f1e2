"""`agentvine logs -f` on a bad line: every line once, whatever breaks."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.cli import Sandbox, wait_until
from tests.support.proxy import relayed
from tests.support.repositories import Repo


def test_a_dropped_connection_loses_and_repeats_no_line(team: Sandbox, repo: Repo, tmp_path: Path):
    gates = [tmp_path / f"gate-{number}" for number in range(3)]
    for gate in gates:
        os.mkfifo(gate)
    parts = [f"read word < {gate}; seq {n}001 {n}400" for n, gate in enumerate(gates, start=1)]
    task = team.run(
        *("run", "Talk", "--repo", str(repo.path), "--no-wait", "--json"),
        *("--command", "; ".join(["seq 1 400", *parts])),
    ).json
    local = json.loads((team.data_dir / "server.json").read_text())
    heard = tmp_path / "heard.txt"
    follow = ["logs", "-f", task["id"], "--stream", "stdout", "--token", local["token"]]

    def has_heard(line: str) -> bool:
        return f"\n{line}\n" in heard.read_text()

    with (
        relayed(local["url"]) as proxy,
        heard.open("w") as out,
        subprocess.Popen(
            [sys.executable, "-m", "agentvine", *follow, "--server", proxy.url],
            env=team.environment,
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
        ) as following,
    ):
        wait_until(lambda: has_heard("400"), "the first lines", seconds=90)
        assert proxy.cut() >= 1
        gates[0].write_text("on\n")
        wait_until(lambda: has_heard("1400"), "the lines after the cut", seconds=90)
        # Away for a while: it asks again and again, and goes on where it was.
        proxy.is_away = True
        proxy.cut()
        gates[1].write_text("on\n")
        wait_until(lambda: proxy.refused_count >= 3, "some more tries", seconds=90)
        proxy.is_away = False
        wait_until(lambda: has_heard("2400"), "the lines after the outage", seconds=90)
        gates[2].write_text("on\n")
        _, err = following.communicate(timeout=120)

    assert following.returncode == 0, err
    assert "[completed" in err
    numbers = [n for start in (0, 1000, 2000, 3000) for n in range(start + 1, start + 401)]
    assert heard.read_text().split() == list(map(str, numbers))


def test_a_run_that_is_watched_over_a_bad_line_is_watched_to_its_end(
    team: Sandbox, repo: Repo, tmp_path: Path
):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    local = json.loads((team.data_dir / "server.json").read_text())
    with relayed(local["url"]) as proxy:
        watching = team.start(
            *("run", "Talk", "--repo", str(repo.path), "--server", proxy.url),
            *("--token", local["token"], "--permission", "autonomous"),
            *("--command", f"echo before; read word < {gate}; echo after | tee new.txt"),
        )
        assert watching.stdout is not None
        said: list[str] = []
        for line in watching.stdout:
            said.append(line.strip())
            if said[-1] == "| before":
                proxy.cut()
                gate.write_text("on\n")
        watching.stdout.close()
        assert watching.wait(timeout=60) == 0, said
    assert said.count("| before") == 1
    assert said.count("| after") == 1
    assert "new.txt" in repo.files("main")
