"""Where a call may go, in which order, and which models may be used at all."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr

from agentvine.config.settings import ProviderSettings
from agentvine.db.session import Database
from agentvine.domains.agents.enums import AgentType
from agentvine.domains.agents.models import Agent
from agentvine.domains.gateway import providers, rules
from agentvine.domains.gateway.environment import adopt_environment
from agentvine.domains.gateway.errors import CredentialUnusable, ModelNotAllowed
from agentvine.domains.gateway.models import ModelProvider
from agentvine.domains.gateway.queries import find_rules
from agentvine.domains.gateway.upstreams import Upstream, list_upstreams, note_limit
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.projects.models import Project
from agentvine.kit.actor import UserActor
from agentvine.kit.crypto import SealBroken
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ModelWire, ProviderKind, UserRole
from agentvine.protocol.providers import (
    CredentialCreateIn,
    ModelRulesIn,
    ProviderCreateIn,
    ProviderEditIn,
)
from tests.support.builders.identity import make_user
from tests.support.builders.projects import make_project

SECRET = SecretStr("a secret key of the tests " * 2)
VAULT = KeyVault.of(SECRET, ProviderSettings())


async def make_admin(database: Database) -> tuple[UserActor, Project]:
    async with database.transaction() as tx:
        user = await make_user(tx, role=UserRole.ADMIN)
        actor = UserActor(user.id, user.username, user.role.value)
        return actor, await make_project(tx, actor)


async def add(database: Database, actor: UserActor, *keys: str, **fields: Any) -> ModelProvider:
    wanted = ProviderCreateIn(**{"name": "one", "kind": ProviderKind.ANTHROPIC} | fields)
    async with database.transaction(actor) as tx:
        made = await providers.create_provider(tx, actor, wanted, VAULT, allow_private=False)
        for key in keys:
            body = CredentialCreateIn(name=key, key=SecretStr(key))
            await providers.add_credential(tx, actor, made.id, body, VAULT)
    return made


async def find(
    database: Database, project: Project | None, model: str = "m", **how: Any
) -> list[Upstream]:
    wire = how.pop("wire", ModelWire.ANTHROPIC)
    async with database.read() as read:
        return await list_upstreams(read, project.id if project else None, wire, model, **how)


def named(found: list[Upstream]) -> list[str]:
    return [upstream.provider_name for upstream in found]


async def test_who_names_the_model_serves_it_alone_and_the_project_comes_first(
    database: Database,
):
    admin, project = await make_admin(database)
    await add(database, admin, "k1", name="for-all")
    await add(database, admin, "k2", name="own", project_id=project.id)
    await add(database, admin, "k3", name="special", models=["claude-*"])
    await add(database, admin, name="no-key")
    await add(database, admin, "k4", name="other-language", kind=ProviderKind.OPENAI)
    off = await add(database, admin, "k5", name="off")
    async with database.transaction(admin) as tx:
        change = ProviderEditIn(is_active=False)
        await providers.edit_provider(tx, admin, off.id, change, allow_private=False)

    assert named(await find(database, project)) == ["own", "for-all"]
    assert named(await find(database, None)) == ["for-all"]
    assert named(await find(database, project, "claude-9")) == ["special"]
    assert named(await find(database, project, wire=ModelWire.OPENAI)) == ["other-language"]
    assert await find(database, project, wire=ModelWire.GEMINI) == []


async def test_keys_take_turns_and_limited_ones_come_last(database: Database):
    admin, project = await make_admin(database)
    await add(database, admin, "k1", "k2", "k3")
    clock = database.clock.now()
    first = [up.open_key(VAULT) for up in await find(database, project, turn=0)]
    second = [up.open_key(VAULT) for up in await find(database, project, turn=1)]
    assert first == ["k1", "k2", "k3"]
    assert second == ["k2", "k3", "k1"]

    [k1, k2, _] = await find(database, project, turn=0)
    async with database.transaction() as tx:
        for up, minutes in ((k1, 30), (k2, 10)):
            assert up.credential_id is not None
            until = clock + timedelta(minutes=minutes)
            await note_limit(tx, up.credential_id, until, "429")
            # A shorter one says nothing new.
            await note_limit(tx, up.credential_id, clock + timedelta(minutes=1), "429")
    limited = await find(database, project, turn=0, now=clock)
    later = await find(database, project, turn=0, now=clock + timedelta(minutes=11))

    assert [up.open_key(VAULT) for up in limited] == ["k3", "k2", "k1"]
    assert limited[1].limited_until == clock + timedelta(minutes=10)
    assert [up.open_key(VAULT) for up in later] == ["k2", "k3", "k1"]


async def test_a_key_opens_only_in_its_own_row_and_stands_in_no_description(database: Database):
    admin, project = await make_admin(database)
    await add(database, admin, "sk-ant-0123456789abcdef", "other")
    first, second = await find(database, project, turn=0)

    assert "sk-ant" not in repr(first)
    assert "sk-ant" not in str(first.sealed_key)
    assert second.credential_id is not None
    with pytest.raises(SealBroken):
        VAULT.open(first.sealed_key, second.credential_id, first.fingerprint)
    elsewhere = KeyVault.of(SecretStr("another secret key " * 3), ProviderSettings())
    with pytest.raises(SealBroken):
        first.open_key(elsewhere)
    assert elsewhere.fingerprint(SecretStr("other")) != second.fingerprint


async def test_a_machine_of_ones_own_needs_no_key(database: Database):
    admin, project = await make_admin(database)
    kind, url = ProviderKind.OPENAI_COMPATIBLE, "http://127.0.0.1:11434/v1/"
    await add(database, admin, name="ollama", kind=kind, base_url=url, is_free=True)

    [found] = await find(database, project, "qwen3", wire=ModelWire.OPENAI)

    assert (found.open_key(VAULT), found.is_free, found.priced_as) == (None, True, "ollama")
    assert (found.base_url, found.real_model) == ("http://127.0.0.1:11434/v1", "qwen3")


async def test_rules_of_all_the_project_and_the_agent_hold_together(database: Database):
    admin, project = await make_admin(database)
    await add(database, admin, "k1")
    config = {"model": "mine", "aliases": {"mine": "fast"}, "allowed_models": ["claude-small*"]}
    async with database.transaction(admin) as tx:
        everywhere = {"fast": "claude-large", "best": "claude-large"}
        wanted = ModelRulesIn(allowed=["claude-*"], aliases=everywhere, default_model="best")
        await rules.set_rules(tx, admin, wanted)
        of_project = ModelRulesIn(project_id=project.id, aliases={"fast": "claude-small-4"})
        await rules.set_rules(tx, admin, of_project)
        agent = Agent(
            id=new_id(), name="a", type=AgentType.CODER, model_config=config, project_id=project.id
        )
        tx.add(agent)

    [of_all] = await find(database, None, "fast")
    [in_project] = await find(database, project, "fast")
    [of_agent] = await find(database, project, "mine", agent_id=agent.id)
    async with database.read() as read:
        default = (await find_rules(read, project.id, agent.id)).default_model

    assert of_all.real_model == "claude-large"
    assert in_project.real_model == of_agent.real_model == "claude-small-4"
    assert default == "mine"
    for model, agent_id in (("gpt-5", None), ("best", agent.id)):
        with pytest.raises(ModelNotAllowed):
            await find(database, project, model, agent_id=agent_id)


async def test_a_ring_of_aliases_ends(database: Database):
    admin, project = await make_admin(database)
    await add(database, admin, "k1")
    async with database.transaction(admin) as tx:
        await rules.set_rules(tx, admin, ModelRulesIn(aliases={"a": "b", "b": "a"}))

    assert len(await find(database, project, "a")) == 1


async def test_a_key_of_the_environment_is_used_and_never_stored(database: Database):
    admin, project = await make_admin(database)
    settings = ProviderSettings(
        anthropic_api_key=SecretStr("sk-env-0123456789abcdef"),
        anthropic_base_url="http://127.0.0.1:4000",
    )
    with_key = KeyVault.of(SECRET, settings)
    for _ in range(2):
        async with database.transaction() as tx:
            assert await adopt_environment(tx, with_key) == 1
    await add(database, admin, "k1")

    mine, found = await find(database, project)
    assert (mine.provider_name, found.provider_name) == ("one", "anthropic-env")
    assert (found.sealed_key, found.base_url) == (None, "http://127.0.0.1:4000")
    assert found.open_key(with_key) == "sk-env-0123456789abcdef"
    with pytest.raises(CredentialUnusable):
        found.open_key(VAULT)

    async with database.transaction(admin) as tx:
        change = ProviderEditIn(models=["claude-*"])
        await providers.edit_provider(tx, admin, found.provider_id, change, allow_private=False)
    async with database.transaction() as tx:
        await adopt_environment(tx, VAULT)
    assert named(await find(database, project, "claude-1")) == ["one"]
    async with database.transaction() as tx:
        await adopt_environment(tx, with_key)
    assert named(await find(database, project, "claude-1")) == ["anthropic-env"]
