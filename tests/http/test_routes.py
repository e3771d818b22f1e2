"""What every route of ours must say of itself."""

import pytest
from fastapi import APIRouter

from agentvine.http.deps import Public
from agentvine.http.routes import PermissionUndeclared, require_permissions


async def nothing() -> None: ...


def test_a_route_without_a_permission_is_refused_wherever_it_hides():
    inner, outer = APIRouter(prefix="/inner"), APIRouter()
    inner.get("/open", dependencies=[Public])(nothing)
    outer.include_router(inner)
    require_permissions(outer.routes)
    inner.delete("/forgotten")(nothing)
    with pytest.raises(PermissionUndeclared, match="DELETE /inner/forgotten"):
        require_permissions(outer.routes)
