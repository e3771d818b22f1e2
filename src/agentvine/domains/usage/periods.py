"""Calendar periods of budgets, in the time zone that the settings name."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from agentvine.domains.usage.enums import BudgetPeriod


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days: from the first one to the day before ``end``."""

    start: date
    end: date


def day_of(moment: datetime, zone: ZoneInfo) -> date:
    """The day that an instant belongs to."""
    return moment.astimezone(zone).date()


def period_of(kind: BudgetPeriod, day: date) -> Period:
    """The period that holds a day; weeks begin on Monday."""
    if kind is BudgetPeriod.DAILY:
        return Period(day, day + timedelta(days=1))
    if kind is BudgetPeriod.WEEKLY:
        start = day - timedelta(days=day.weekday())
        return Period(start, start + timedelta(days=7))
    start = day.replace(day=1)
    return Period(start, (start + timedelta(days=32)).replace(day=1))


def elapsed_share(period: Period, moment: datetime, zone: ZoneInfo) -> float:
    """Which part of a period is over at an instant, from 0 to 1."""
    # In UTC, since the difference of two times of one zone leaves its change of clocks out.
    begin, end = (
        datetime.combine(day, datetime.min.time(), zone).astimezone(UTC)
        for day in (period.start, period.end)
    )
    share = (moment - begin).total_seconds() / (end - begin).total_seconds()
    return min(1.0, max(0.0, share))
