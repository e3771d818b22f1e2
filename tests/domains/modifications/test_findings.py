"""A reviewer sees what the server found in the commits, whatever the worker says of them."""

from pathlib import Path

import pytest

from tests.support.api import Api
from tests.support.changes import make_workshop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_lying_worker_cannot_hide_what_it_changed(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    made = await shop.space.task()
    order = await shop.worker.claim_one()
    told = await shop.send(order, {"harmless.txt": "h\n", "secret.py": "import os\n"})
    lie = told | {
        "files": [{"path": "harmless.txt", "kind": "modified", "added_lines": 1}],
        "diff": "nothing to see here",
    }
    await shop.worker.complete(order, change=lie)
    (listed,) = await shop.space.changes(made)
    seen = await shop.get(listed)
    assert seen["affected_files"] == ["harmless.txt", "secret.py"]
    assert seen["modified_files"]["secret.py"] == {"kind": "added", "added": 1, "removed": 0}
    assert seen["diff_stat"] == {"files": 2, "added": 2, "removed": 0}
    assert "+import os" in seen["diff"]
    assert "nothing to see" not in seen["diff"]


async def test_a_change_below_the_base_that_a_worker_names_is_shown_too(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    made = await shop.space.task()
    order = await shop.worker.claim_one()
    clone, start = shop.clone(), shop.repo.head
    clone.git("switch", "-q", "-c", "work")
    hidden = clone.commit({"hidden.py": "import os\n"})
    head = clone.commit({"shown.txt": "s\n"})
    bundle = tmp_path / "work.bundle"
    clone.git("bundle", "create", "-q", bundle, "work", f"^{start}")
    stored = await shop.worker.put_bundle(order, bundle.read_bytes())
    change = {
        "base_commit": hidden,
        "head_commit": head,
        "branch_name": "work",
        "target_branch": "main",
        "files": [{"path": "shown.txt", "kind": "added", "added_lines": 1}],
        "diff": clone.git("diff", hidden, head),
        "bundle_sha256": stored.json()["sha256"],
    }
    await shop.worker.complete(order, change=change)
    (listed,) = await shop.space.changes(made)
    seen = await shop.get(listed)
    assert seen["base_commit"] == start
    assert seen["affected_files"] == ["hidden.py", "shown.txt"]
    assert "+import os" in seen["diff"]
