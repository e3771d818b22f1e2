"""What ``agentvine provider`` and ``agentvine model`` do."""

import sys
import uuid
from collections.abc import Sequence
from typing import Any, TextIO

from pydantic import SecretStr

from agentvine.cli import asking, resolve
from agentvine.cli.actions.tasks import NothingToChange
from agentvine.cli.output import Column
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import ProviderKind
from agentvine.protocol.providers import (
    MAX_KEY,
    CredentialCreateIn,
    CredentialEditIn,
    CredentialOut,
    ModelOut,
    ModelRulesIn,
    ModelRulesOut,
    ProviderCreateIn,
    ProviderEditIn,
    ProviderOut,
)


class KeyMissing(Invalid):
    """There is no key to take."""

    code = "key_missing"


class ProviderSilent(Invalid):
    """The provider does not answer as it should."""

    code = "provider_silent"


def _key(key: CredentialOut) -> str:
    shown = f"...{key.last_four}" if key.last_four else key.fingerprint
    if not key.is_active:
        return f"{shown} (off)"
    if key.limited_until is not None:
        return f"{shown} (limited until {key.limited_until:%Y-%m-%d %H:%M} UTC)"
    return shown


def _state(row: ProviderOut) -> str:
    if not row.is_active:
        return "inactive"
    if row.test_problem:
        return f"failed its test: {row.test_problem}"
    source = "from the environment" if row.is_from_environment else "active"
    return f"{source}, tested" if row.tested_at else source


_COLUMNS = [
    Column[ProviderOut]("name", lambda row: row.name),
    Column[ProviderOut]("kind", lambda row: row.kind.value),
    Column[ProviderOut]("of", lambda row: row.project_id or "everything"),
    Column[ProviderOut]("address", lambda row: row.base_url),
    Column[ProviderOut]("models", lambda row: ", ".join(row.models) or "any"),
    Column[ProviderOut]("cost", lambda row: "free" if row.is_free else "priced"),
    Column[ProviderOut]("keys", lambda row: "; ".join(map(_key, row.credentials)) or "none"),
    Column[ProviderOut]("state", _state),
]


async def list_providers(session: Session, *, limit: int | None) -> None:
    """All providers one may see."""
    rows = await resolve.collect(session.client.providers.list(), limit)
    nothing = "There are no providers; `agentvine provider add` makes one."
    session.out.table(rows, _COLUMNS, nothing=nothing)


async def show_provider(session: Session, *, name: str, project: str | None) -> None:
    """One provider."""
    row = await resolve.find_provider(session, name, project)
    keys = [
        (f"key {key.name}", f"{_key(key)}{f': {key.limit_reason}' if key.limit_reason else ''}")
        for key in row.credentials
    ]
    session.out.record(
        row,
        [
            ("provider", row.name),
            ("id", row.id),
            ("kind", row.kind.value),
            ("of", row.project_id or "everything"),
            ("address", row.base_url),
            ("models", row.models or "any"),
            ("free", row.is_free),
            ("state", _state(row)),
            ("tested", row.tested_at),
            *keys,
        ],
    )


async def add_provider(
    session: Session,
    *,
    name: str,
    kind: ProviderKind,
    url: str | None,
    project: str | None,
    models: Sequence[str],
    free: bool | None,
    key_file: TextIO | None,
    no_key: bool,
) -> None:
    """A new provider."""
    project_id = await resolve.project_id(session, project) if project else None
    given: dict[str, Any] = {} if no_key else {"key": _read_key(name, key_file)}
    body = ProviderCreateIn(
        name=name,
        kind=kind,
        project_id=project_id,
        base_url=url,
        models=list(models),
        is_free=bool(free),
        **given,
    )
    row = await session.client.providers.create(body)
    session.out.done(f"{row.name} is added; `agentvine provider test {row.name}` tries it", row)


async def edit_provider(
    session: Session,
    *,
    name: str,
    project: str | None,
    new_name: str | None,
    url: str | None,
    models: Sequence[str],
    any_model: bool,
    free: bool | None,
    active: bool | None,
) -> None:
    """Some fields of a provider.

    Raises:
        NothingToChange: None was named.
    """
    values = {"name": new_name, "base_url": url, "is_free": free, "is_active": active}
    changes: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    if models or any_model:
        changes["models"] = list(models)
    if not changes:
        raise NothingToChange("Name what is to change; see `agentvine provider edit --help`.")
    known = await resolve.find_provider(session, name, project)
    row = await session.client.providers.edit(known.id, ProviderEditIn(**changes))
    session.out.done(f"{row.name} is changed: {', '.join(changes)}", row)


async def remove_provider(session: Session, *, name: str, project: str | None, yes: bool) -> None:
    """Forget it."""
    row = await resolve.find_provider(session, name, project)
    session.confirm(f"Remove the provider {row.name} and its keys?", yes=yes)
    await session.client.providers.delete(row.id)
    session.out.done(f"{row.name} is removed", row)


async def test_provider(
    session: Session, *, name: str, project: str | None, key: str | None
) -> None:
    """Ask it for its models.

    Raises:
        ProviderSilent: It does not answer as it should.
    """
    row = await resolve.find_provider(session, name, project)
    chosen = resolve.find_key(row, key).id if key else None
    tested = await session.client.providers.test(row.id, chosen)
    if not tested.is_ok:
        raise ProviderSilent(f"{row.name}: {tested.problem}")
    text = f"{row.name} answers in {tested.duration_ms} ms and names {len(tested.models)} models"
    session.out.done(text, tested)


async def add_key(
    session: Session, *, name: str, project: str | None, key_name: str, key_file: TextIO | None
) -> None:
    """A key more."""
    row = await resolve.find_provider(session, name, project)
    body = CredentialCreateIn(name=key_name, key=_read_key(name, key_file))
    added = await session.client.providers.add_key(row.id, body)
    session.out.done(f"{row.name} has the key {added.name}", added)


async def replace_key(
    session: Session, *, name: str, key: str | None, project: str | None, key_file: TextIO | None
) -> None:
    """Another key in the place of one."""
    known = resolve.find_key(await resolve.find_provider(session, name, project), key)
    change = CredentialEditIn(key=_read_key(name, key_file))
    edited = await session.client.providers.edit_key(known.id, change)
    session.out.done(f"{edited.name} is replaced", edited)


async def disable_key(session: Session, *, name: str, key: str | None, project: str | None) -> None:
    """Use it no more."""
    await _switch_key(session, name, key, project, is_active=False)


async def enable_key(session: Session, *, name: str, key: str | None, project: str | None) -> None:
    """Use it again."""
    await _switch_key(session, name, key, project, is_active=True)


async def _switch_key(
    session: Session, name: str, key: str | None, project: str | None, *, is_active: bool
) -> None:
    known = resolve.find_key(await resolve.find_provider(session, name, project), key)
    change = CredentialEditIn(is_active=is_active)
    edited = await session.client.providers.edit_key(known.id, change)
    session.out.done(f"{edited.name} is {'on' if is_active else 'off'}", edited)


async def remove_key(
    session: Session, *, name: str, key: str | None, project: str | None, yes: bool
) -> None:
    """Forget a key."""
    known = resolve.find_key(await resolve.find_provider(session, name, project), key)
    session.confirm(f"Remove the key {known.name} of {name}?", yes=yes)
    await session.client.providers.delete_key(known.id)
    session.out.done(f"{known.name} is removed", known)


_MODEL_COLUMNS = [
    Column[ModelOut]("model", lambda row: row.name),
    Column[ModelOut]("also called", lambda row: row.aliases),
    Column[ModelOut]("provider", lambda row: row.provider),
    Column[ModelOut]("kind", lambda row: row.kind.value),
    Column[ModelOut]("cost", lambda row: "free" if row.is_free else "priced"),
    Column[ModelOut]("default", lambda row: row.is_default),
]


async def list_models(session: Session, *, project: str | None) -> None:
    """The models that may be used."""
    project_id = await _project(session, project)
    rows = await session.client.models.list(project_id)
    nothing = "No model is known by name; `agentvine provider test NAME` asks a provider."
    session.out.table(rows, _MODEL_COLUMNS, nothing=nothing)


async def allow_models(
    session: Session, *, names: Sequence[str], project: str | None, any_model: bool
) -> None:
    """Only these models.

    Raises:
        NothingToChange: None was named.
    """
    if bool(names) is any_model:
        raise NothingToChange("Name the models that may be used, or say --any.")
    rules = await _set_rules(session, project, allowed=list(names))
    may = ", ".join(rules.allowed) or "any model"
    session.out.done(f"{may} may be used", rules)


async def set_alias(
    session: Session, *, name: str, target: str | None, project: str | None
) -> None:
    """A name for a model, or none any more."""
    known = await session.client.models.get_rules(await _project(session, project))
    aliases = {alias: model for alias, model in known.aliases.items() if alias != name}
    if target is not None:
        aliases[name] = target
    rules = await _set_rules(session, project, aliases=aliases)
    session.out.done(f"{name} means {target or 'nothing any more'}", rules)


async def set_default(session: Session, *, name: str | None, project: str | None) -> None:
    """The model that is asked where nobody names one."""
    rules = await _set_rules(session, project, default_model=name)
    session.out.done(f"{name or 'no model'} is the default", rules)


async def _set_rules(session: Session, project: str | None, **changes: Any) -> ModelRulesOut:
    project_id = await _project(session, project)
    known = await session.client.models.get_rules(project_id)
    fields: dict[str, Any] = known.model_dump() | {"project_id": project_id} | changes
    return await session.client.models.set_rules(ModelRulesIn(**fields))


async def _project(session: Session, project: str | None) -> uuid.UUID | None:
    return await resolve.project_id(session, project) if project else None


def _read_key(name: str, file: TextIO | None) -> SecretStr:
    """The key, never from the command line: that is shown to every user of the machine."""
    if file is not None:
        text = asking.read_input(MAX_KEY + 2, file=file).strip()
    elif sys.stdin.isatty():
        text = asking.prompt(f"Key for {name}", is_secret=True).strip()
    else:
        raise KeyMissing("Say --key-file FILE (- for standard input), or --no-key for none.")
    if not text:
        raise KeyMissing("There is no key in it.")
    return SecretStr(text)
