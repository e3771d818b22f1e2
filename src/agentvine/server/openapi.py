"""The description of the API for machines: what FastAPI derives, with our errors and our tokens."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from agentvine.db.errors import DatabaseUnreachable
from agentvine.http.deps import PUBLIC, RoleTooLow, ScopeMissing
from agentvine.http.problems import CONTENT_TYPE, BodyTooLarge, responses
from agentvine.http.routes import endpoints_of
from agentvine.kit.errors import AppError, Invalid, Unauthenticated
from agentvine.protocol.base import Problem

_BEARER = "bearer"
_FASTAPIS_OWN = ("HTTPValidationError", "ValidationError")


class DescribedApp(FastAPI):
    """An application whose OpenAPI document says how its errors look and who may call."""

    def openapi(self) -> dict[str, Any]:
        """The document; made once."""
        if self.openapi_schema is None:
            self.openapi_schema = _complete(super().openapi(), self)
        return self.openapi_schema


def operation_id(route: APIRoute) -> str:
    """The function's own name: what generated clients call their methods."""
    return route.name


def _complete(document: dict[str, Any], app: FastAPI) -> dict[str, Any]:
    parts = document.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    for name in _FASTAPIS_OWN:
        schemas.pop(name, None)
    schemas["Problem"] = Problem.model_json_schema()
    parts["securitySchemes"] = {
        _BEARER: {
            "type": "http",
            "scheme": "bearer",
            "description": "A token made by `agentvine login` or `agentvine token create`.",
        }
    }
    for endpoint in endpoints_of(app.routes):
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        is_public = endpoint.permission == PUBLIC
        operation["security"] = [] if is_public else [{_BEARER: []}]
        operation["x-permission"] = endpoint.permission
        _add_problems(operation, _common_errors(operation, is_public=is_public))
    return document


def _common_errors(operation: dict[str, Any], *, is_public: bool) -> list[type[AppError]]:
    errors: list[type[AppError]] = [DatabaseUnreachable]
    if not is_public:
        errors += [Unauthenticated, ScopeMissing, RoleTooLow]
    if "requestBody" in operation:
        errors.append(BodyTooLarge)
    if "requestBody" in operation or operation.get("parameters"):
        errors.append(Invalid)
    return errors


def _add_problems(operation: dict[str, Any], errors: list[type[AppError]]) -> None:
    answers: dict[str, Any] = operation["responses"]
    for status, problem in responses(*errors).items():
        known = answers.get(str(status))
        if known is not None and CONTENT_TYPE in known.get("content", {}):
            problem["description"] = f"{known['description']}\n{problem['description']}"
        answers[str(status)] = problem
