"""An invitation makes one worker's key; a key that is revoked loses what it held, at once."""

import uuid
from datetime import timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import update

from agentvine.db.session import Database
from agentvine.domains.identity import tokens
from agentvine.domains.identity.errors import TokenInvalid
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.models import ApiToken
from agentvine.domains.identity.tokens import TokenAuthenticator
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.workers import enrolment
from agentvine.domains.workers.errors import (
    EnrolmentInvalid,
    WorkerNotAllowed,
    WorkerSuperseded,
)
from agentvine.domains.workers.models import Enrolment
from agentvine.kit.actor import WorkerActor
from agentvine.kit.crypto import hash_token
from agentvine.kit.ids import random_token
from agentvine.protocol.enums import TaskType
from agentvine.protocol.workers import EnrolIn, EnrolmentCreateIn
from tests.support.builders.identity import unique
from tests.support.builders.work import Crew, Hand, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")


def new_key() -> str:
    return f"avw_{uuid.uuid4().hex[:8]}_{random_token()}"


async def invite(crew: Crew, **limits: object) -> str:
    async with crew.ground.transaction() as tx:
        wanted = EnrolmentCreateIn.model_validate({"name": "w", **limits})
        _, text = await enrolment.invite_worker(tx, crew.ground.owner, wanted)
    return text


async def enrol(crew: Crew, invitation: str, key: str, name: str) -> WorkerActor:
    """What a worker gets for its invitation: itself, as the server knows it by its key."""
    message = EnrolIn(
        token=SecretStr(invitation),
        worker_name=name,
        key_prefix=key[:12],
        key_hash=hash_token(key),
    )
    async with crew.database.transaction() as tx:
        await enrolment.enrol_worker(tx, message)
    actor = await sign_in(crew, key)
    crew.tokens[actor.token_id] = key
    return actor


async def sign_in(crew: Crew, key: str) -> WorkerActor:
    uses = LastUses(crew.database)
    actor = await TokenAuthenticator(crew.database, uses).authenticate(key)
    assert isinstance(actor, WorkerActor)
    return actor


async def hand_of(crew: Crew, actor: WorkerActor, name: str, **registration: object) -> Hand:
    hand = Hand(crew, actor, name, registration)
    await hand.register()
    return hand


async def test_an_invitation_is_exchanged_once_for_a_key_that_works(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue()
    invitation, key, name = await invite(crew), new_key(), unique("w")
    actor = await enrol(crew, invitation, key, name)
    hand = await hand_of(crew, actor, name)
    assert (await hand.claim_one()).order_id == order_id

    again = await enrol(crew, invitation, key, name)
    assert again.token_id == actor.token_id, "a lost answer is asked for again"
    for other_key in (new_key(), key[:12] + "_" + random_token()):
        with pytest.raises(EnrolmentInvalid):
            await enrol(crew, invitation, other_key, name)
    with pytest.raises(TokenInvalid):
        await sign_in(crew, invitation)


async def test_an_invitation_that_is_late_withdrawn_or_wrong_is_good_for_nothing(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    late, withdrawn = await invite(crew), await invite(crew)
    async with crew.ground.transaction() as tx:
        past = tx.now - timedelta(seconds=1)
        for text, change in ((late, {"expires_at": past}), (withdrawn, {"revoked_at": past})):
            row = update(Enrolment).where(Enrolment.token_hash == hash_token(text))
            await tx.execute(row.values(**change))
    good = await invite(crew)
    for text in (late, withdrawn, good[:-1] + "!", "nonsense", ""):
        with pytest.raises(EnrolmentInvalid):
            await enrol(crew, text, new_key(), unique("w"))


async def test_a_key_is_good_for_its_name_and_for_what_its_invitation_says(
    shared_database: Database,
):
    crew, other = await make_crew(shared_database), await make_crew(shared_database)
    other.queue_name = crew.queue_name
    docs = await crew.enqueue(type="docs")
    await crew.enqueue(type="test")
    await other.enqueue(type="docs")
    name = unique("w")
    invitation = await invite(
        crew,
        types=[TaskType.DOCS],
        queues=[crew.queue_name],
        project_ids=[crew.ground.project_id],
    )
    actor = await enrol(crew, invitation, new_key(), name)
    for wrong in ({"accepts": ["test"]}, {"queues": ["elsewhere"]}):
        with pytest.raises(WorkerNotAllowed):
            await hand_of(crew, actor, name, **wrong)
    with pytest.raises(WorkerNotAllowed):
        await hand_of(crew, actor, unique("somebody-else"))
    hand = await hand_of(crew, actor, name)
    assert [order.order_id for order in await hand.claim(5)] == [docs]


async def test_a_revoked_key_loses_its_leases_at_once_and_is_refused(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    key, name = new_key(), unique("w")
    actor = await enrol(crew, await invite(crew), key, name)
    hand = await hand_of(crew, actor, name)
    order = await hand.claim_one()

    async with crew.ground.transaction() as tx:
        await tokens.revoke_token(tx, await tx.get_one(ApiToken, actor.token_id))

    after = await crew.order(order.order_id)
    assert (after.status, after.fence) == (OrderStatus.PENDING, order.fence + 1)
    with pytest.raises(TokenInvalid):
        await sign_in(crew, key)
    # A request that was under way when the key was revoked changes nothing either.
    with pytest.raises(LeaseLost):
        await hand.complete(order)
    with pytest.raises(WorkerSuperseded):
        await hand.claim()
    somebody = await crew.worker()
    assert (await somebody.claim_one()).order_id == order.order_id
