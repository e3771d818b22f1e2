"""Enrolment: an admin invites a worker; the worker makes a key of its own, and shows it once.

The worker makes the key and sends its hash, so that no answer carries a secret: a lost answer is
asked for again by the same key, and by no other. An invitation is good for one key.
"""

import uuid
from datetime import timedelta

from sqlalchemy import select, update

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history, tokens
from agentvine.domains.identity.models import ApiToken
from agentvine.domains.workers.errors import EnrolmentInvalid, EnrolmentNotFound, WorkerNotAllowed
from agentvine.domains.workers.models import Enrolment
from agentvine.kit.actor import UserActor, WorkerActor
from agentvine.kit.crypto import equal, hash_token
from agentvine.kit.ids import new_id, random_token
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.workers import (
    EnrolIn,
    EnrolmentCreateIn,
    EnrolmentOut,
    WorkerRegisterIn,
)

_PREFIX_BYTES = 6
_TYPE, _QUEUE, _PROJECT, _NAME = "type:", "queue:", "project:", "name:"
_REFUSED = "Ask an admin for another invitation: `agentvine worker invite`."


async def invite_worker(
    tx: Transaction, actor: UserActor, wanted: EnrolmentCreateIn
) -> tuple[Enrolment, str]:
    """Make an invitation; the second value is its text, which is kept nowhere."""
    prefix = f"ave_{random_token(_PREFIX_BYTES).replace('_', 'x').replace('-', 'y')}"
    text = f"{prefix}_{random_token()}"
    enrolment = Enrolment(
        id=new_id(),
        name=wanted.name,
        prefix=prefix,
        token_hash=hash_token(text),
        scopes=[
            *(f"{_TYPE}{kind.value}" for kind in wanted.types),
            *(f"{_QUEUE}{queue}" for queue in wanted.queues),
            *(f"{_PROJECT}{project_id}" for project_id in wanted.project_ids),
        ],
        created_by=actor.user_id,
        created_at=tx.now,
        expires_at=tx.now + timedelta(minutes=wanted.expires_in_minutes),
    )
    tx.add(enrolment)
    history.record(
        tx,
        "worker.invited",
        entity=("worker_enrolment", enrolment.id),
        after={"name": wanted.name, "scopes": enrolment.scopes},
    )
    await tx.flush()
    return enrolment, text


async def enrol_worker(tx: Transaction, message: EnrolIn) -> ApiToken:
    """Take a worker's own key for an invitation. The same key may be sent again.

    Raises:
        EnrolmentInvalid: Unknown, used for another key, expired or withdrawn; all told alike.
    """
    text = message.token.get_secret_value()
    prefix = text[: text.find("_", 4)] if text.count("_") >= 2 else ""
    found = await tx.scalar(
        select(Enrolment)
        .where(Enrolment.prefix == prefix)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    is_right = equal(found.token_hash if found else hash_token(""), hash_token(text))
    if found is None or not is_right or found.revoked_at is not None:
        raise EnrolmentInvalid(_REFUSED)
    if found.expires_at <= tx.now:
        raise EnrolmentInvalid(_REFUSED)
    if found.used_at is not None:
        return await _same_key(tx, found, message)
    key = await tokens.register_worker_key(
        tx,
        name=message.worker_name,
        user_id=found.created_by,
        prefix=message.key_prefix,
        token_hash=message.key_hash,
        scopes=[*found.scopes, f"{_NAME}{message.worker_name}"],
    )
    found.used_at, found.key_prefix = tx.now, message.key_prefix
    found.worker_name = message.worker_name
    history.record(
        tx,
        "worker.enrolled",
        entity=("worker_enrolment", found.id),
        after={"worker": message.worker_name, "key": message.key_prefix},
    )
    return key


async def _same_key(tx: Transaction, found: Enrolment, message: EnrolIn) -> ApiToken:
    key = await tx.scalar(select(ApiToken).where(ApiToken.prefix == found.key_prefix))
    is_same = (
        key is not None
        and key.prefix == message.key_prefix
        and equal(key.token_hash, message.key_hash)
        and key.revoked_at is None
    )
    if key is None or not is_same:
        raise EnrolmentInvalid(_REFUSED)
    return key


async def list_enrolments(read: ReadSession, page: PageRequest) -> Page[Enrolment]:
    """All invitations, newest first."""
    return await fetch_page(read, select(Enrolment), Enrolment.id, page, newest_first=True)


async def withdraw_invitation(tx: Transaction, enrolment_id: uuid.UUID) -> None:
    """Let nobody come by an invitation any more; a key it was exchanged for stays good.

    Raises:
        EnrolmentNotFound: There is none.
    """
    changed = await tx.scalar(
        update(Enrolment)
        .where(Enrolment.id == enrolment_id)
        .values(revoked_at=tx.now)
        .returning(Enrolment.id)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        raise EnrolmentNotFound(f"There is no invitation with the id {enrolment_id}.")
    history.record(tx, "worker.invitation_withdrawn", entity=("worker_enrolment", enrolment_id))


def check_allowed(actor: WorkerActor, wanted: WorkerRegisterIn) -> WorkerRegisterIn:
    """What a worker introduces itself as, within what its key allows.

    Raises:
        WorkerNotAllowed: Its key is for another name, or for other work.
    """
    names, kinds = _of(actor, _NAME), _of(actor, _TYPE)
    if names and wanted.name not in names:
        raise WorkerNotAllowed(f"This key is for the worker {', '.join(names)}.")
    asked = [kind.value for kind in wanted.accepts]
    if kinds and (wrong := sorted(set(asked) - set(kinds))):
        raise WorkerNotAllowed(f"This key takes {', '.join(kinds)} only, not {', '.join(wrong)}.")
    queues = _of(actor, _QUEUE)
    if queues and (wrong := sorted(set(wanted.queues) - set(queues))):
        raise WorkerNotAllowed(
            f"This key serves the queues {', '.join(queues)}, not {', '.join(wrong)}: "
            "name them with --queue."
        )
    if kinds and not asked:
        # "All" means all that it may.
        return WorkerRegisterIn.model_validate({**wanted.model_dump(), "accepts": kinds})
    return wanted


def allowed_projects(actor: WorkerActor) -> tuple[uuid.UUID, ...]:
    """The only projects whose work a key is good for; empty: all."""
    return tuple(sorted(uuid.UUID(key) for key in _of(actor, _PROJECT)))


def enrolment_out(row: Enrolment) -> EnrolmentOut:
    """An invitation as admins see it."""
    return EnrolmentOut.model_validate(row)


def _of(actor: WorkerActor, kind: str) -> list[str]:
    return sorted(scope.removeprefix(kind) for scope in actor.scopes if scope.startswith(kind))
