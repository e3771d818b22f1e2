from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.config.settings import SettingsError, load_settings
from agentvine.kit.errors import Invalid
from agentvine.kit.process import ContainmentLevel
from agentvine.worker.config import WorkerConfig, WorkerNameInvalid, default_worker_name


def config(**changes: object) -> WorkerConfig:
    values = {"server_url": "http://x", "token": SecretStr("t"), "data_dir": Path("/x")}
    return WorkerConfig(**{**values, **changes})


def test_a_worker_without_a_name_is_called_like_its_machine():
    assert config().checked().name == default_worker_name()
    assert config(name="mine").checked().name == "mine"


@pytest.mark.parametrize("name", ["../up", "a b", "-x", "x" * 101, "a/b"])
def test_a_name_that_is_no_file_name_is_refused(name: str):
    with pytest.raises(WorkerNameInvalid):
        config(name=name).checked()


def test_a_worker_has_room_for_one_run_at_least():
    with pytest.raises(Invalid, match="at least 1"):
        config(concurrency=0).checked()


def test_the_bounds_of_all_runs_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("AGENTVINE_WORKER__MINIMUM_CONTAINMENT", "cgroup")
    monkeypatch.setenv("AGENTVINE_WORKER__MEMORY_MIB", "512")
    bounds = load_settings(data_dir=tmp_path).worker
    assert (bounds.minimum_containment, bounds.memory_mib) == (ContainmentLevel.CGROUP, 512)
    assert (bounds.disk_mib, bounds.max_log_mib) == (None, 64)
    monkeypatch.setenv("AGENTVINE_WORKER__MINIMUM_CONTAINMENT", "strong")
    monkeypatch.setenv("AGENTVINE_WORKER__MEMORY_MIB", "0")
    with pytest.raises(SettingsError) as refused:
        load_settings(data_dir=tmp_path)
    assert "AGENTVINE_WORKER__MINIMUM_CONTAINMENT" in refused.value.detail
    assert "AGENTVINE_WORKER__MEMORY_MIB" in refused.value.detail
