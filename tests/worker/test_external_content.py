"""Repositories that name what they do not hold: refused, or worked on without it."""

from pathlib import Path

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.runs import LargeFiles, OrderedWorkspace, Submodules
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo, make_repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import WireServer, source_of
from tests.worker.test_runs import assert_nothing_is_left, carry_out

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{1:064x}\nsize 12345\n"
WITHOUT = OrderedWorkspace(submodules=Submodules.EMPTY, large_files=LargeFiles.POINTERS)

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def with_submodule(repo: Repo, tmp_path: Path) -> Repo:
    library = make_repo(tmp_path / "library")
    repo.git("-c", "protocol.file.allow=always", "submodule", "-q", "add", library.path, "lib")
    repo.commit()
    return repo


@pytest.fixture
def with_large_file(repo: Repo) -> Repo:
    repo.commit({"a.bin": POINTER, ".gitattributes": "*.bin filter=lfs -text\n"})
    return repo


async def test_a_repository_with_submodules_is_refused_before_anything_runs(
    server: WireServer,
    start_worker: StartWorker,
    with_submodule: Repo,
    tmp_path: Path,
    data_dir: Path,
):
    trace = tmp_path / "ran"
    order = await carry_out(
        server, start_worker, repository=source_of(with_submodule.path), command=f"touch {trace}"
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.REPOSITORY_UNSUPPORTED
    assert "submodules (lib)" in order.fail.message
    assert "--submodules empty" in order.fail.message
    assert not trace.exists()
    assert_nothing_is_left(data_dir)


async def test_a_repository_with_large_files_is_refused_before_anything_runs(
    server: WireServer, start_worker: StartWorker, with_large_file: Repo
):
    order = await carry_out(
        server, start_worker, repository=source_of(with_large_file.path), command="true"
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.REPOSITORY_UNSUPPORTED
    assert "git-lfs (a.bin)" in order.fail.message


async def test_with_permission_the_work_is_done_without_them(
    server: WireServer, start_worker: StartWorker, with_submodule: Repo, with_large_file: Repo
):
    assert with_submodule.path == with_large_file.path
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(with_submodule.path),
        command="cat a.bin; ls -A lib; rmdir lib; touch a.bin; echo new > new.txt",
        workspace=WITHOUT,
    )
    assert order.complete is not None, order.logs
    assert order.said("stdout") == POINTER.strip()
    assert [file.path for file in order.report.change.files] == ["new.txt"]
    assert "Submodules are empty folders: lib." in order.logs["system"]
    assert "Files kept by git-lfs are pointers: a.bin." in order.logs["system"]


@pytest.mark.parametrize("file", ["a.bin", "lib/new.c"])
async def test_what_a_run_does_to_them_is_kept_but_is_no_change(
    server: WireServer,
    start_worker: StartWorker,
    with_submodule: Repo,
    with_large_file: Repo,
    data_dir: Path,
    file: str,
):
    assert with_submodule.path == with_large_file.path
    source = source_of(with_submodule.path)
    order = await carry_out(
        server,
        start_worker,
        repository=source,
        command=f"echo by hand > {file}",
        test_command="true",
        workspace=WITHOUT,
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.COMMAND_FAILED
    assert file.split("/", maxsplit=1)[0] in order.fail.message
    assert order.report.tests is None
    assert order.report.change.is_partial
    mirror = Repo(DataPlaces(data_dir).mirror(source.id))
    assert mirror.show(f"refs/agentvine/rescue/{order.executions[0]}", file) == "by hand"
