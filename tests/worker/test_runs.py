"""What becomes of one order, from the claim to the report."""

from pathlib import Path

import pytest

from agentvine.git.bundles import read_bundle
from agentvine.protocol.enums import ChangeKind, FailureClass
from agentvine.protocol.queue import ANSWER_FILE, MAX_ANSWER_CHARACTERS
from agentvine.worker.answers import read_answer
from agentvine.worker.folders import read_folders
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import Order, WireServer, source_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


async def carry_out(server: WireServer, start_worker: StartWorker, **order: object) -> Order:
    added = server.add(**order)
    async with start_worker():
        await server.until(lambda: added.is_done)
    return added


def assert_nothing_is_left(data_dir: Path) -> None:
    places = DataPlaces(data_dir)
    assert list(places.worktrees.iterdir()) == []
    assert list(places.removed.iterdir() if places.removed.is_dir() else ()) == []
    assert list(read_folders(places.worker("w1").runs)) == []
    assert list(places.worker("w1").processes.iterdir()) == []


async def test_a_change_is_tested_committed_and_reported_with_its_evidence(
    server: WireServer, start_worker: StartWorker, repo: Repo, data_dir: Path, tmp_path: Path
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        title="Add a greeting",
        command="printf 'def greet(name): ...\\n' > src/greeting.py; echo changed; echo odd >&2",
        test_command="test -f src/greeting.py && echo all good",
    )
    assert order.complete is not None
    report = order.report
    assert (report.exit_code, report.metrics["changed"]) == (0, True)
    change = report.change
    assert change.base_commit == repo.head
    assert (change.branch_name, change.target_branch) == ("agentvine/t-1-change", "main")
    assert [(file.path, file.kind, file.added_lines) for file in change.files] == [
        ("src/greeting.py", ChangeKind.ADDED, 1)
    ]
    assert not change.is_partial
    assert (report.tests.passed, report.tests.source) == (True, "exit_code")
    assert report.tests.output_tail == "all good"
    assert order.logs["stdout"] == ["changed"]
    assert order.logs["stderr"] == ["odd"]
    assert order.logs["test"] == ["all good"]
    assert any("Changed 1 file, +1 -0 lines" in line for line in order.logs["system"])
    bundle = tmp_path / "got.bundle"
    bundle.write_bytes(order.bundle or b"")
    assert read_bundle(bundle).refs == {"refs/heads/agentvine/t-1-change": change.head_commit}
    repo.git("fetch", "-q", bundle, "refs/heads/agentvine/t-1-change:kept")
    assert repo.git("log", "-1", "--format=%s", "kept") == "Add a greeting (T-1)"
    assert_nothing_is_left(data_dir)


async def test_a_run_that_is_asked_for_an_answer_leaves_it_and_no_change(
    server: WireServer, start_worker: StartWorker, repo: Repo, data_dir: Path
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command='echo \'{"outcome": "pass"}\' > agentvine-answer.json; echo x > new.txt',
        test_command="exit 1",
        wants_answer=True,
    )
    assert order.complete is not None
    assert (order.report.answer, order.report.change) == ('{"outcome": "pass"}\n', None)
    assert order.bundle is None
    assert_nothing_is_left(data_dir)


async def test_a_link_or_a_text_without_end_is_no_answer(tmp_path: Path):
    secret, place = tmp_path / "secret", tmp_path / ANSWER_FILE
    secret.write_text("{}")
    assert await read_answer(tmp_path) is None
    place.symlink_to(secret)
    assert await read_answer(tmp_path) is None
    place.unlink()
    place.mkdir()
    assert await read_answer(tmp_path) is None
    place.rmdir()
    place.write_text("x" * (MAX_ANSWER_CHARACTERS + 1))
    assert await read_answer(tmp_path) is None
    place.write_text("x" * MAX_ANSWER_CHARACTERS)
    assert await read_answer(tmp_path) == "x" * MAX_ANSWER_CHARACTERS


async def test_a_command_that_changes_nothing_is_a_result_and_needs_no_tests(
    server: WireServer, start_worker: StartWorker, repo: Repo, data_dir: Path
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command="cat README.md; touch src/app.py",
        test_command="exit 1",
    )
    assert order.complete is not None
    assert order.report.change is None
    assert order.report.tests is None
    assert order.report.metrics["changed"] is False
    assert "Nothing was changed." in order.said("system")
    assert order.bundle is None
    assert_nothing_is_left(data_dir)


async def test_a_failing_command_is_reported_with_its_last_words_and_its_work_is_kept(
    server: WireServer, start_worker: StartWorker, repo: Repo, data_dir: Path
):
    source = source_of(repo.path)
    order = await carry_out(
        server,
        start_worker,
        repository=source,
        command="echo half done > half.txt; echo no such thing >&2; exit 3",
        test_command="true",
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.COMMAND_FAILED
    assert "exit code 3" in order.fail.message
    assert "no such thing" in order.fail.message
    change = order.report.change
    assert change.is_partial
    assert [file.path for file in change.files] == ["half.txt"]
    assert order.bundle
    mirror = Repo(DataPlaces(data_dir).mirror(source.id))
    rescued = f"refs/agentvine/rescue/{order.executions[0]}"
    assert mirror.show(rescued, "half.txt") == "half done"
    assert_nothing_is_left(data_dir)


async def test_red_tests_fail_the_attempt_and_what_they_left_is_not_committed(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command="echo 'x = 2' > src/app.py",
        test_command="echo litter > litter.txt; mkdir __pycache__; echo assertion failed; exit 1",
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.TESTS_FAILED
    assert order.report.tests.passed is False
    assert order.report.tests.output_tail == "assertion failed"
    assert [file.path for file in order.report.change.files] == ["src/app.py"]
    assert order.report.change.is_partial


async def test_build_products_and_ignored_files_are_not_committed(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    repo.commit({".gitignore": "build/\n"})
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command="mkdir build __pycache__ .pytest_cache && touch build/a.o __pycache__/x.pyc "
        ".pytest_cache/y && echo z > kept.txt",
    )
    assert [file.path for file in order.report.change.files] == ["kept.txt"]


async def test_commits_that_the_command_makes_itself_are_part_of_the_change(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command="echo 1 > one && git add one && git commit -qm 'Its own words' && echo 2 > two",
    )
    assert order.complete is not None
    assert [file.path for file in order.report.change.files] == ["one", "two"]


@pytest.mark.parametrize(
    ("changes", "failure_class", "words"),
    [
        ({"target_branch": "nonsense"}, FailureClass.BRANCH_NOT_FOUND, "nonsense"),
        ({"runtime": "nonsense"}, FailureClass.RUNTIME_UNAVAILABLE, "nonsense"),
        ({"command": None}, FailureClass.ORDER_INVALID, "no command"),
        (
            {"repository": source_of(Path("/nonexistent/project"))},
            FailureClass.REPOSITORY_UNAVAILABLE,
            "/nonexistent/project",
        ),
        ({"command": "sleep 30", "timeout_seconds": 1}, FailureClass.TIMEOUT, "limit of 1 s"),
        (
            {"test_command": "sleep 30", "test_timeout_seconds": 1},
            FailureClass.TIMEOUT,
            "The tests were ended",
        ),
    ],
)
async def test_each_way_to_fail_has_its_class_and_says_why(
    server: WireServer,
    start_worker: StartWorker,
    repo: Repo,
    data_dir: Path,
    changes: dict[str, object],
    failure_class: FailureClass,
    words: str,
):
    order = await carry_out(
        server,
        start_worker,
        **{"repository": source_of(repo.path), "command": "echo 1 > new", **changes},
    )
    assert order.fail is not None
    assert order.fail.failure_class is failure_class
    assert words in order.fail.message
    assert words in order.said("system")
    DataPlaces(data_dir).worktrees.mkdir(exist_ok=True, parents=True)
    assert_nothing_is_left(data_dir)


async def test_a_task_without_a_repository_runs_in_an_empty_folder(
    server: WireServer, start_worker: StartWorker
):
    order = await carry_out(server, start_worker, command="ls -A; echo done", repository=None)
    assert order.complete is not None
    assert order.logs["stdout"] == ["done"]
    assert order.report.metrics["changed"] is False


async def test_a_second_attempt_begins_afresh_from_the_target_branch(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    source = source_of(repo.path)
    async with start_worker():
        first = server.add(repository=source, command="echo 1 > first; exit 1")
        await server.until(lambda: first.is_done)
        base = repo.commit({"more.txt": "more\n"})
        second = server.add(repository=source, command="ls; echo 2 > second")
        await server.until(lambda: second.is_done)
    assert second.report.change.base_commit == base
    assert "first" not in second.logs["stdout"]
    assert [file.path for file in second.report.change.files] == ["second"]


async def test_the_workers_token_does_not_get_into_the_log(
    server: WireServer, start_worker: StartWorker
):
    order = await carry_out(
        server, start_worker, repository=None, command="echo it is avw_the-token-of-the-tests; env"
    )
    assert "it is [redacted]" in order.logs["stdout"]
    assert "avw_the-token" not in order.said("stdout")


async def test_several_orders_run_side_by_side_up_to_the_workers_concurrency(
    server: WireServer, start_worker: StartWorker, tmp_path: Path
):
    # Each waits for the other: one after the other, they would never end.
    (tmp_path / "meet").mkdir()
    command = (
        f"cd '{tmp_path}/meet'; touch $AGENTVINE_TASK_ID; "
        "while [ $(ls | wc -l) -lt 2 ]; do sleep 0.02; done"
    )
    orders = [server.add(command=command, repository=None) for _ in range(2)]
    async with start_worker(concurrency=2):
        await server.until(lambda: all(order.is_done for order in orders))
    assert all(order.complete for order in orders)
    assert server.registrations[0].max_concurrent_tasks == 2
