"""What is due is sent at least once, and as seldom as that allows; nobody waits for another."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest
import structlog.testing

from agentvine.config.channels import NotificationSettings
from agentvine.db.session import Database
from agentvine.domains.notifications import outbox
from agentvine.domains.notifications.channels.port import Later, Letter, Never, Outcome, Sent
from agentvine.domains.notifications.enums import Channel, NotificationId, Severity
from agentvine.domains.notifications.jobs import SendingChore
from tests.support.builders.notifications import (
    age,
    make_due,
    make_notifications,
    make_receiver,
    move,
    rows_of,
)
from tests.support.senders import Recorder, always, hang, take

SETTINGS = NotificationSettings()
DAYS_OVER = SETTINGS.give_up_days + 0.1

Sending = Callable[..., Awaitable[SendingChore]]


@pytest.fixture
async def chore_of(database: Database) -> AsyncIterator[Callable[..., SendingChore]]:
    """Makes servers' chores over the test's database."""
    made: list[SendingChore] = []

    def make(*senders: Recorder) -> SendingChore:
        made.append(SendingChore(database, SETTINGS, senders))
        return made[-1]

    yield make
    for chore in made:
        await give_up(chore)


async def give_up(chore: SendingChore) -> None:
    """End a chore as a server's death does: nothing under way is waited for."""
    tasks = list(chore._under_way)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await chore.close()


async def send_all(chore: SendingChore) -> int:
    """Run a chore until it finds nothing, and let it come to its end."""
    taken = 0
    while count := await chore.run():
        taken += count
        await asyncio.gather(*chore._under_way)
    return taken


async def until(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait for something that comes about by itself."""
    async with asyncio.timeout(60):
        while True:
            told = is_so()
            if told is True or (told is not False and await told):
                return
            await asyncio.sleep(0.01)


async def receiver_with(
    database: Database, count: int = 1, *, chat: int | None = None, **more: object
) -> list[NotificationId]:
    async with database.transaction() as tx:
        user = await make_receiver(tx, chat=chat)
        return await make_notifications(tx, user, count, **more)  # type: ignore[arg-type]  # a test passes any


async def due_in(database: Database, ids: list[NotificationId]) -> list[float]:
    """In how many seconds each is looked at again; the machine's clock is the database's."""
    now = database.clock.now()
    rows = await rows_of(database, ids)
    assert all(row.next_attempt_at is not None for row in rows)
    return [(row.next_attempt_at - now).total_seconds() for row in rows if row.next_attempt_at]


async def test_what_is_due_goes_once_over_each_channel(database: Database, chore_of):
    mail, chat = Recorder(), Recorder(Channel.TELEGRAM)
    ids = await receiver_with(database, chat=-42)
    chore = chore_of(mail, chat)

    assert await send_all(chore) == 1
    await make_due(database)
    assert await send_all(chore) == 0

    [row] = await rows_of(database, ids)
    assert (row.sent_email, row.sent_telegram, row.next_attempt_at) == (True, True, None)
    [(address, letter)] = mail.given
    assert address.endswith("@example.org")
    assert (letter.subject, letter.text.splitlines()[0]) == ("Notice 0", "This is notice 0.")
    assert [address for address, _ in chat.given] == ["-42"]


async def test_a_thousand_failures_are_one_letter(database: Database, chore_of):
    mail = Recorder()
    ids = await receiver_with(database, 1000)
    assert await send_all(chore_of(mail)) == 1000
    [letter] = mail.letters
    assert letter.subject == "1000 notifications: Notice 0"
    assert "20. Notice 19\n" in letter.text
    assert "21. " not in letter.text
    assert "... and 980 more: agentvine notification list" in letter.text
    assert all(row.sent_email for row in await rows_of(database, ids))


async def test_what_nobody_wants_or_no_channel_takes_is_not_looked_at_again(
    database: Database, chore_of
):
    mail = Recorder()
    async with database.transaction() as tx:
        quiet = await make_receiver(tx, email="none")
        ids = await make_notifications(tx, quiet, severity=Severity.CRITICAL)
        usual = await make_receiver(tx, chat=7)
        ids += await make_notifications(tx, usual, severity=Severity.INFO)
        gone = await make_receiver(tx)
        gone.is_active = False
        ids += await make_notifications(tx, gone)

    assert await send_all(chore_of(mail)) == 3

    assert mail.given == []
    rows = await rows_of(database, ids)
    assert [(row.sent_email, row.next_attempt_at) for row in rows] == [(False, None)] * 3
    assert [row.attempts for row in rows] == [0] * 3


async def test_what_is_not_due_yet_waits(database: Database, chore_of):
    mail = Recorder()
    ids = await receiver_with(database)
    async with database.transaction() as tx:
        await move(tx, ids, seconds=60)
    assert await send_all(chore_of(mail)) == 0
    assert mail.given == []


async def test_pauses_between_attempts_grow_up_to_an_hour(database: Database, chore_of):
    mail = Recorder(answer=always(Later("not now")))
    ids = await receiver_with(database)
    chore = chore_of(mail)
    pauses: list[float] = []
    for _ in range(11):
        assert await send_all(chore) == 1
        pauses += await due_in(database, ids)
        await make_due(database)
    [row] = await rows_of(database, ids)
    assert row.metadata_["delivery"] == {"email": {"error": "not now", "gave_up": False}}
    assert row.attempts == 11
    for number, pause in enumerate(pauses):
        usual = 15.0 * 2**number
        # A busy machine reads its clock later than the database.
        assert 0.8 * min(usual, 3600) - 10 < pause <= min(1.2 * usual, 3600) + 0.1


async def test_what_surely_was_not_sent_goes_together_with_what_has_come_since(
    database: Database, chore_of
):
    mail = Recorder(answer=always(Later("not now")))
    async with database.transaction() as tx:
        user = await make_receiver(tx)
        first = await make_notifications(tx, user)
    chore = chore_of(mail)
    await send_all(chore)
    mail.answer = take
    async with database.transaction() as tx:
        second = await make_notifications(tx, user)
    await make_due(database)
    assert await send_all(chore) == 2
    assert [letter.subject[:2] for letter in mail.letters] == ["No", "2 "]
    rows = await rows_of(database, [*first, *second])
    assert [row.next_attempt_at for row in rows] == [None, None]
    assert rows[0].metadata_["delivery"] == {}


async def test_what_may_have_been_sent_goes_again_as_the_same_letter(database: Database, chore_of):
    mail = Recorder(answer=always(Later("no answer", is_sure=False)))
    async with database.transaction() as tx:
        user = await make_receiver(tx)
        await make_notifications(tx, user, 2)
    chore = chore_of(mail)
    await send_all(chore)
    mail.answer = always(Later("not now"))  # which says nothing of the first attempt
    await make_due(database)
    await send_all(chore)
    mail.answer = take
    async with database.transaction() as tx:
        await make_notifications(tx, user)
    await make_due(database)
    assert await send_all(chore) == 3
    first, between, again, other = mail.letters
    assert again == between == first
    assert other.id != first.id
    assert other.subject == "Notice 0"


async def test_each_company_in_doubt_goes_by_itself(database: Database, chore_of):
    mail = Recorder(answer=always(Later("no answer", is_sure=False)))
    async with database.transaction() as tx:
        user = await make_receiver(tx)
        await make_notifications(tx, user, 2)
    chore = chore_of(mail)
    await send_all(chore)
    async with database.transaction() as tx:
        await make_notifications(tx, user, 3)
    await send_all(chore)
    mail.answer = take
    await make_due(database)
    await send_all(chore)
    first, second, *again = mail.letters
    assert {letter.id for letter in again} == {first.id, second.id}
    assert len(again) == 2


async def test_what_was_under_way_when_its_server_died_goes_again_as_the_same_letter(
    database: Database, chore_of
):
    mail = Recorder(answer=hang)
    ids = await receiver_with(database, 3)
    chore = chore_of(mail)
    assert await chore.run() == 3
    await until(lambda: len(mail.given) == 1)
    await give_up(chore)
    [before] = mail.letters
    assert await due_in(database, ids) > [30.0]
    mail.answer = take

    heir = chore_of(mail)
    assert await send_all(heir) == 0, "the lease is not over"
    await make_due(database)
    assert await send_all(heir) == 3
    assert mail.letters == [before, before]
    assert all(row.next_attempt_at is None for row in await rows_of(database, ids))


async def test_what_is_refused_for_good_is_given_up_with_its_reason(database: Database, chore_of):
    mail, chat = Recorder(), Recorder(Channel.TELEGRAM, always(Never("bot was blocked")))
    ids = await receiver_with(database, chat=42)
    with structlog.testing.capture_logs() as logs:
        await send_all(chore_of(mail, chat))
    [row] = await rows_of(database, ids)
    assert (row.sent_email, row.sent_telegram, row.next_attempt_at) == (True, False, None)
    assert row.metadata_["delivery"] == {"telegram": {"error": "bot was blocked", "gave_up": True}}
    told = [line for line in logs if line["event"] == "notification.gave_up"]
    assert [(line["reason"], line["notifications"]) for line in told] == [
        ("bot was blocked", [str(ids[0])])
    ]


async def test_after_some_days_it_is_given_up(database: Database, chore_of):
    mail = Recorder(answer=always(Later("not now")))
    old = await receiver_with(database)
    new = await receiver_with(database)
    await age(database, old, DAYS_OVER)
    with structlog.testing.capture_logs() as logs:
        await send_all(chore_of(mail))
    assert len(mail.given) == 2, "it is tried a last time"
    [given_up, tried] = await rows_of(database, [*old, *new])
    assert given_up.next_attempt_at is None
    assert given_up.metadata_["delivery"] == {"email": {"error": "not now", "gave_up": True}}
    assert tried.next_attempt_at is not None
    assert [line["event"] for line in logs].count("notification.gave_up") == 1


async def test_who_asks_to_be_left_alone_is(database: Database, chore_of):
    chat = Recorder(Channel.TELEGRAM, always(Later("too many", after_seconds=500.0)))
    async with database.transaction() as tx:
        user = await make_receiver(tx, chat=42, email="none")
        ids = await make_notifications(tx, user)
    chore = chore_of(chat)
    await send_all(chore)
    [pause] = await due_in(database, ids)
    assert 0.8 * 500 - 10 < pause <= 1.2 * 500
    async with database.transaction() as tx:
        ids += await make_notifications(tx, user)
    await make_due(database)
    await send_all(chore)
    assert len(chat.given) == 1, "nothing else goes there meanwhile"
    assert min(await due_in(database, ids)) > 0.8 * 500 - 40


async def test_a_channel_that_hangs_holds_up_neither_the_other_nor_other_people(
    database: Database, chore_of
):
    async def hang_for_one(address: str, letter: Letter) -> Outcome:
        return await (hang(address, letter) if address == slow else take(address, letter))

    mail, chat = Recorder(answer=hang_for_one), Recorder(Channel.TELEGRAM)
    async with database.transaction() as tx:
        one = await make_receiver(tx, chat=1)
        slow, ids = one.email, await make_notifications(tx, one)
    chore = chore_of(mail, chat)
    assert await chore.run() == 1
    for number in range(20):
        ids += await receiver_with(database, chat=2 + number)
    async with database.transaction() as tx:
        ids += await make_notifications(tx, one)

    async def all_but_the_slow_are_told() -> bool:
        await chore.run()
        rows = await rows_of(database, ids)
        return all(row.sent_telegram for row in rows) and sum(row.sent_email for row in rows) == 20

    await until(all_but_the_slow_are_told)
    rows = await rows_of(database, ids)
    assert [row.sent_email for row in rows] == [False, *[True] * 20, False]
    assert rows[0].next_attempt_at is not None
    assert [address for address, _ in mail.given].count(slow) == 1


async def test_few_letters_are_under_way_at_once(database: Database, chore_of):
    go_on = asyncio.Event()

    async def wait(_address: str, _letter: Letter) -> Outcome:
        await go_on.wait()
        return Sent()

    mail = Recorder(answer=wait)
    for _ in range(20):
        await receiver_with(database)
    chore = chore_of(mail)
    assert await chore.run() == 20
    await until(lambda: mail.under_way == 8)
    go_on.set()
    await asyncio.gather(*chore._under_way)
    assert (len(mail.given), mail.most_under_way) == (20, 8)


async def test_a_server_that_is_away_is_not_asked_for_each_person(database: Database, chore_of):
    mail = Recorder(answer=always(Later("is not reached", is_for_all=True)))
    ids: list[NotificationId] = []
    for _ in range(30):
        ids += await receiver_with(database)
    with structlog.testing.capture_logs() as logs:
        await send_all(chore_of(mail))
    assert 1 <= len(mail.given) <= 8
    rows = await rows_of(database, ids)
    assert {row.metadata_["delivery"]["email"]["error"] for row in rows} == {"is not reached"}
    assert [line["event"] for line in logs].count("notification.channel_fails") == 1


async def test_servers_that_look_at_once_send_nothing_twice(database: Database, chore_of):
    mail = Recorder()
    ids: list[NotificationId] = []
    for _ in range(25):
        ids += await receiver_with(database, 2)
    chores = [chore_of(mail) for _ in range(4)]
    await asyncio.gather(*(send_all(chore) for chore in chores))
    # Two servers may each take one of a person's two: then these are two letters.
    assert len(mail.given) == len({letter.id for _, letter in mail.given})
    rows = await rows_of(database, ids)
    assert all(row.sent_email and row.attempts == 1 for row in rows)


async def test_what_comes_of_an_older_lease_does_not_end_a_newer_one(database: Database, chore_of):
    ids = await receiver_with(database)
    async with database.transaction() as tx:
        [[old], _] = await outbox.take_due(tx, SETTINGS, [Channel.EMAIL], 1)
    await make_due(database)
    async with database.transaction() as tx:
        [[_newer], _] = await outbox.take_due(tx, SETTINGS, [Channel.EMAIL], 1)
    [before] = await rows_of(database, ids)
    failed = {Channel.EMAIL: Later("late")}
    async with database.transaction() as tx:
        await outbox.note_outcomes(tx, SETTINGS, old, failed, is_all=True)
    [after] = await rows_of(database, ids)
    assert after.next_attempt_at == before.next_attempt_at
    assert after.attempts == 2

    async with database.transaction() as tx:
        await outbox.note_outcomes(tx, SETTINGS, old, {Channel.EMAIL: Sent()}, is_all=True)
    [after] = await rows_of(database, ids)
    assert after.sent_email, "that it was sent is true all the same"


async def test_a_bug_of_one_channel_stops_no_other(database: Database, chore_of):
    async def break_down(_address: str, _letter: Letter) -> Outcome:
        raise LookupError("secret")

    mail, chat = Recorder(answer=break_down), Recorder(Channel.TELEGRAM)
    ids = await receiver_with(database, chat=42)
    await send_all(chore_of(mail, chat))
    [row] = await rows_of(database, ids)
    assert (row.sent_email, row.sent_telegram) == (False, True)
    assert row.metadata_["delivery"]["email"]["error"] == "A bug: LookupError"
    assert await due_in(database, ids) > [0.0]


async def test_who_tries_a_channel_that_is_not_set_up_is_told_so(database: Database, chore_of):
    mail = Recorder()
    named = {"channels": ["email", "telegram"]}
    ids = await receiver_with(database, chat=42, severity=Severity.INFO, metadata=named)
    ids += await receiver_with(database, chat=43)
    await send_all(chore_of(mail))
    tried, usual = await rows_of(database, ids)
    assert len(mail.given) == 2
    assert tried.sent_email
    told = tried.metadata_["delivery"]["telegram"]
    assert told["gave_up"]
    assert "AGENTVINE_TELEGRAM__TOKEN is not set" in told["error"]
    assert usual.metadata_["delivery"] == {}
    assert [row.next_attempt_at for row in (tried, usual)] == [None, None]


async def test_rows_that_scripts_have_written_stop_no_other(database: Database, chore_of):
    mail = Recorder()
    async with database.transaction() as tx:
        user = await make_receiver(tx)
        ids = await make_notifications(tx, user, key=None, severity=None)
        ids += await make_notifications(tx, user, metadata={"channels": ["pigeon", 1]})
        ids += await make_notifications(tx, user, metadata={"channels": "email", "delivery": 7})
        ids += await make_notifications(tx, user, metadata={"delivery": {"email": 7}})
        ids += await make_notifications(tx, user, metadata=["a list"])  # type: ignore[arg-type]  # any JSON
        ids += await make_notifications(tx, user)
    await send_all(chore_of(mail))
    rows = await rows_of(database, ids)
    assert all(row.next_attempt_at is None for row in rows)
    assert rows[-1].sent_email


async def test_a_server_that_ends_lets_what_is_under_way_end_first(database: Database, chore_of):
    is_asked = asyncio.Event()

    async def wait_a_moment(_address: str, _letter: Letter) -> Outcome:
        is_asked.set()
        await asyncio.sleep(0.05)
        return Sent()

    ids = await receiver_with(database)
    chore = chore_of(Recorder(answer=wait_a_moment))
    await chore.run()
    await is_asked.wait()
    await chore.close()
    [row] = await rows_of(database, ids)
    assert row.sent_email


async def test_a_letter_is_the_same_however_its_rows_are_found(database: Database):
    ids = await receiver_with(database, 3)
    rows = await rows_of(database, ids)
    assert outbox.compose(rows) == outbox.compose(rows[::-1])
    assert outbox.compose(rows).id != outbox.compose(rows[:2]).id


async def test_the_lease_is_as_long_as_the_settings_say(database: Database):
    settings = NotificationSettings(lease_seconds=1000)
    ids = await receiver_with(database)
    async with database.transaction() as tx:
        await outbox.take_due(tx, settings, [Channel.EMAIL], 1)
    [seconds] = await due_in(database, ids)
    assert timedelta(seconds=900) < timedelta(seconds=seconds) <= timedelta(seconds=1000)
