"""Ids and enumerations of the usage slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import BudgetAction, BudgetPeriod, BudgetScope

__all__ = [
    "BudgetAction",
    "BudgetCounterId",
    "BudgetLimitId",
    "BudgetPeriod",
    "BudgetReservationId",
    "BudgetScope",
    "PriceOverrideId",
    "TokenUsageId",
]

TokenUsageId = NewType("TokenUsageId", UUID)
BudgetLimitId = NewType("BudgetLimitId", UUID)
BudgetCounterId = NewType("BudgetCounterId", UUID)
BudgetReservationId = NewType("BudgetReservationId", UUID)
PriceOverrideId = NewType("PriceOverrideId", UUID)
