"""Days, weeks and months of budgets."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from agentvine.domains.usage.enums import BudgetPeriod
from agentvine.domains.usage.periods import Period, day_of, elapsed_share, period_of

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("kind", "day", "start", "end"),
    [
        (BudgetPeriod.DAILY, (2026, 12, 31), (2026, 12, 31), (2027, 1, 1)),
        (BudgetPeriod.WEEKLY, (2026, 11, 29), (2026, 11, 23), (2026, 11, 30)),
        (BudgetPeriod.WEEKLY, (2026, 11, 30), (2026, 11, 30), (2026, 12, 7)),
        (BudgetPeriod.MONTHLY, (2028, 2, 29), (2028, 2, 1), (2028, 3, 1)),
        (BudgetPeriod.MONTHLY, (2026, 12, 1), (2026, 12, 1), (2027, 1, 1)),
    ],
)
def test_a_period_holds_its_day_and_ends_where_the_next_begins(
    kind: BudgetPeriod,
    day: tuple[int, int, int],
    start: tuple[int, int, int],
    end: tuple[int, int, int],
):
    assert period_of(kind, date(*day)) == Period(date(*start), date(*end))


def test_the_day_is_that_of_the_time_zone():
    late = datetime(2026, 11, 26, 23, 30, tzinfo=UTC)
    assert day_of(late, ZoneInfo("UTC")) == date(2026, 11, 26)
    assert day_of(late, BERLIN) == date(2026, 11, 27)


def test_a_day_with_an_hour_more_goes_by_more_slowly():
    autumn = period_of(BudgetPeriod.DAILY, date(2026, 10, 25))
    noon = datetime(2026, 10, 25, 11, tzinfo=UTC)  # 12:00 in Berlin, 13 hours after midnight
    assert elapsed_share(autumn, noon, BERLIN) == pytest.approx(13 / 25)
    assert elapsed_share(autumn, datetime(2026, 10, 20, tzinfo=UTC), BERLIN) == 0
    assert elapsed_share(autumn, datetime(2026, 10, 30, tzinfo=UTC), BERLIN) == 1
