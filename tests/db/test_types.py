"""What goes into a column comes out of it, alike on both databases."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    cast,
    func,
    insert,
    literal,
    select,
    text,
    type_coerce,
)
from sqlalchemy.exc import IntegrityError, StatementError

from agentvine.db.base import NAMING_CONVENTION
from agentvine.db.session import Database
from agentvine.db.types import (
    EnumString,
    Json,
    Money,
    StrList,
    UtcDateTime,
    Uuid,
    format_utc,
    parse_utc,
    utc_now,
    uuid_default,
)
from agentvine.kit.ids import new_id


class Colour(StrEnum):
    RED = "red"
    DARK_GREEN = "dark_green"


metadata = MetaData(naming_convention=NAMING_CONVENTION)
things = Table(
    "toy_things",
    metadata,
    Column("id", Uuid(), primary_key=True, server_default=uuid_default()),
    Column("at", UtcDateTime(), server_default=utc_now()),
    Column("document", Json()),
    Column("words", StrList()),
    Column("short_words", StrList(String(5))),
    Column("colour", EnumString(Colour, length=20)),
    Column("cost_usd", Money(10, 6)),
    Column("budget_usd", Money(10, 2)),
    Column("number", Integer()),
)


@pytest.fixture
async def db(database: Database) -> Database:
    async with database.transaction() as tx:
        await (await tx.connection()).run_sync(metadata.create_all)
    return database


async def _keep(db: Database, **values: Any) -> UUID:
    async with db.transaction() as tx:
        key = await tx.scalar(insert(things).values(**values).returning(things.c.id))
    assert key is not None
    return key


async def _kept(db: Database, column: str, key: UUID) -> Any:
    async with db.read() as read:
        return await read.scalar(select(things.c[column]).where(things.c.id == key))


class TestUtcDateTime:
    @pytest.mark.parametrize(
        "value",
        [
            datetime(2026, 11, 24, 12, 0, 0, 123456, UTC),
            datetime(2026, 11, 24, 12, 0, 0, 0, timezone(timedelta(hours=5, minutes=45))),
            datetime(1, 1, 2, tzinfo=UTC),
            datetime(9999, 12, 30, 23, 59, 59, 999999, timezone(timedelta(hours=-12))),
        ],
    )
    async def test_an_instant_comes_back_in_utc(self, db: Database, value: datetime):
        found = await _kept(db, "at", await _keep(db, at=value))
        assert found == value
        assert found.utcoffset() == timedelta(0)

    async def test_a_naive_value_is_refused(self, db: Database):
        naive = datetime(2026, 11, 24, 12)  # noqa: DTZ001  # the point of the test
        with pytest.raises(StatementError, match="naive"):
            await _keep(db, at=naive)
        with pytest.raises(StatementError, match="expected a datetime"):
            await _keep(db, at="2026-11-24")

    async def test_the_database_fills_in_its_own_clock(self, db: Database):
        found = await _kept(db, "at", await _keep(db))
        assert abs(found - datetime.now(UTC)) < timedelta(seconds=10)

    async def test_instants_compare_in_the_database(self, db: Database):
        early = datetime(2026, 11, 24, 23, 30, tzinfo=timezone(timedelta(hours=9)))
        late = datetime(2026, 11, 24, 15, 0, 0, 1, UTC)
        for value in (late, early):
            await _keep(db, at=value)
        async with db.read() as read:
            found = (await read.scalars(select(things.c.at).order_by(things.c.at))).all()
            after = await read.scalar(
                select(func.count()).where(things.c.at > datetime(2026, 11, 24, 15, tzinfo=UTC))
            )
        assert found == [early, late]
        assert after == 1

    async def test_what_current_timestamp_writes_is_read_as_utc(self, db: Database):
        key = await _keep(db)
        async with db.transaction() as tx:
            await tx.execute(text("UPDATE toy_things SET at = CURRENT_TIMESTAMP"))
        found = await _kept(db, "at", key)
        assert abs(found - datetime.now(UTC)) < timedelta(seconds=10)

    def test_text_order_is_time_order_also_beside_the_databases_own_text(self):
        ordered = ["2026-11-24 12:00:00", "2026-11-24 12:00:00.000001Z"]
        written = [
            format_utc(datetime(2026, 11, 24, 12, 0, second, tzinfo=UTC)) for second in (1, 9)
        ]
        assert sorted([*written, *ordered]) == [*ordered, *written]
        assert parse_utc(ordered[0]) == datetime(2026, 11, 24, 12, tzinfo=UTC)
        assert len(format_utc(datetime(1, 1, 1, tzinfo=UTC))) == len(written[0])


class TestJson:
    @pytest.mark.parametrize(
        "value",
        [
            {"a": [1, 2.5, True, None, {"ü": "\n"}]},
            [],
            {},
            "a string",
            "",
            7,
            1.5,
            True,
            False,
            12345678901,
        ],
    )
    async def test_a_document_comes_back(self, db: Database, value: Any):
        found = await _kept(db, "document", await _keep(db, document=value))
        assert found == value
        assert type(found) is type(value)

    async def test_none_is_sql_null(self, db: Database):
        await _keep(db, document=None)
        async with db.read() as read:
            assert await read.scalar(select(func.count()).where(things.c.document.is_(None))) == 1

    async def test_a_value_inside_can_be_asked_for(self, db: Database):
        await _keep(db, document={"kind": "bug", "counts": [3, 4]})
        await _keep(db, document={"kind": "chore"})
        async with db.read() as read:
            found = await read.scalars(
                select(things.c.document["counts"][1].as_integer()).where(
                    things.c.document["kind"].as_string() == "bug"
                )
            )
            assert found.all() == [4]

    async def test_what_is_not_json_is_refused(self, db: Database):
        with pytest.raises(StatementError, match="not JSON compliant"):
            await _keep(db, document={"x": float("nan")})


class TestStrList:
    @pytest.mark.parametrize("value", [[], ["a"], ["a, b", 'c"d', "{}", "NULL", "ü", ""]])
    async def test_a_list_comes_back(self, db: Database, value: list[str]):
        key = await _keep(db, words=value, short_words=value)
        assert await _kept(db, "words", key) == value
        assert await _kept(db, "short_words", key) == value

    async def test_none_is_sql_null(self, db: Database):
        assert await _kept(db, "words", await _keep(db, words=None)) is None

    @pytest.mark.parametrize("value", ["a string", [1, 2], [None]])
    async def test_anything_else_is_refused(self, db: Database, value: Any):
        with pytest.raises(StatementError, match="expected a list of strings"):
            await _keep(db, words=value)


class TestEnumString:
    async def test_a_member_comes_back_and_its_value_is_stored(self, db: Database):
        key = await _keep(db, colour=Colour.DARK_GREEN)
        assert await _kept(db, "colour", key) is Colour.DARK_GREEN
        async with db.read() as read:
            assert await read.scalar(text("SELECT colour FROM toy_things")) == "dark_green"

    async def test_the_database_refuses_a_value_of_no_member(self, db: Database):
        with pytest.raises(StatementError, match="not among the defined enum values"):
            await _keep(db, colour="blue")

        async def by_raw_sql() -> None:
            async with db.transaction() as tx:
                await tx.execute(text("INSERT INTO toy_things (colour) VALUES ('blue')"))

        with pytest.raises(IntegrityError) as caught:
            await by_raw_sql()
        violation = db.dialect.violation(caught.value)
        assert violation.kind == "check"
        assert violation.names("ck_toy_things_colour_")

    def test_the_checks_name_changes_with_its_values(self):
        class More(StrEnum):
            RED = "red"
            DARK_GREEN = "dark_green"
            BLUE = "blue"

        def name(enum: type[StrEnum]) -> str:
            column = Column("colour", EnumString(enum))
            table = Table("t", MetaData(naming_convention=NAMING_CONVENTION), column)
            (check,) = (item for item in table.constraints if "ck_" in str(item.name))
            return str(check.name)

        assert name(Colour).startswith("ck_t_colour_")
        assert name(Colour) == name(Colour) != name(More)


class TestMoney:
    @pytest.mark.parametrize(
        "amount", ["1234.567891", "0", "-0.000001", "9999.999999", "0.1", "-9999.999999"]
    )
    async def test_an_amount_comes_back_exactly(self, db: Database, amount: str):
        found = await _kept(db, "cost_usd", await _keep(db, cost_usd=Decimal(amount)))
        assert found == Decimal(amount)
        assert isinstance(found, Decimal)
        assert found.as_tuple().exponent == -6

    async def test_whole_numbers_are_amounts_and_floats_are_not(self, db: Database):
        assert await _kept(db, "budget_usd", await _keep(db, budget_usd=5)) == Decimal("5.00")
        for wrong in (0.1, True, "1"):
            with pytest.raises(StatementError, match="money is a Decimal"):
                await _keep(db, cost_usd=wrong)

    @pytest.mark.parametrize(
        ("column", "amount", "reason"),
        [
            ("cost_usd", "0.0000001", "digits after the point"),
            ("budget_usd", "0.001", "digits after the point"),
            ("cost_usd", "10000", "does not fit"),
            ("cost_usd", "NaN", "digits after the point"),
            ("cost_usd", "Infinity", "digits after the point"),
        ],
    )
    async def test_an_amount_that_does_not_fit_is_refused_rather_than_rounded(
        self, db: Database, column: str, amount: str, reason: str
    ):
        with pytest.raises(StatementError, match=reason):
            await _keep(db, **{column: Decimal(amount)})

    async def test_a_sum_of_a_thousand_amounts_is_exact(self, db: Database):
        async with db.transaction() as tx:
            await tx.execute(
                insert(things),
                [{"cost_usd": Decimal("0.000001")}] * 999 + [{"cost_usd": Decimal("0.1")}],
            )
        async with db.read() as read:
            assert await read.scalar(select(func.sum(things.c.cost_usd))) == Decimal("0.100999")

    async def test_amounts_compare_and_add_in_the_database(self, db: Database):
        await _keep(db, cost_usd=Decimal("1.5"), budget_usd=Decimal("1.50"))
        async with db.read() as read:
            row = (
                await read.execute(
                    select(
                        things.c.cost_usd + Decimal("0.25"),
                        Decimal("2.5") - things.c.cost_usd,
                        -things.c.cost_usd * 3 + things.c.budget_usd,
                        func.coalesce(func.sum(things.c.cost_usd), 0) - 1,
                        things.c.cost_usd == things.c.budget_usd,
                        things.c.cost_usd > Decimal("1.499999"),
                        things.c.cost_usd > 1,
                    ).group_by(things.c.cost_usd, things.c.budget_usd)
                )
            ).one()
        assert tuple(row) == (
            *(Decimal("1.75"), Decimal(1), Decimal(-3), Decimal("0.5")),
            *(True, True, True),
        )

    def test_what_would_need_rounding_is_not_left_to_the_database(self):
        for operation in (
            lambda: things.c.cost_usd * Decimal("1.1"),
            lambda: things.c.cost_usd / 3,
            lambda: things.c.cost_usd % 3,
        ):
            with pytest.raises(TypeError, match="in Python"):
                operation()

    async def test_rounding_is_asked_for_by_name(self):
        assert Money.quantize(Decimal("0.0000005")) == Decimal("0.000001")
        assert Money.quantize(Decimal("1.005"), 2) == Decimal("1.01")

    def test_more_than_six_digits_after_the_point_cannot_be_declared(self):
        with pytest.raises(ValueError, match="six digits"):
            Money(10, 7)


class TestUuid:
    async def test_an_id_comes_back(self, db: Database):
        key = new_id()
        assert await _keep(db, id=key) == key

    async def test_the_database_makes_one_where_raw_sql_brings_none(self, db: Database):
        keys = {await _keep(db) for _ in range(20)}
        assert len(keys) == 20
        assert all(key.version == 4 and key.variant == "specified in RFC 4122" for key in keys)


async def test_types_survive_a_cast_and_a_literal(db: Database):
    instant = datetime(2026, 11, 24, 12, tzinfo=UTC)
    async with db.read() as read:
        row = (
            await read.execute(
                select(
                    literal(instant, UtcDateTime()),
                    type_coerce(cast(literal(3), Integer), Integer),
                    literal(Decimal("1.25"), Money(10, 2)),
                )
            )
        ).one()
    assert tuple(row) == (instant, 3, Decimal("1.25"))
