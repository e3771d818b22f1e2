"""What can go wrong with usage and budgets."""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, LimitReached, NotFound


class BudgetNotFound(NotFound):
    """No such budget."""

    code = "budget_not_found"


class BudgetForbidden(Forbidden):
    """This budget is not yours to make or change."""

    code = "budget_forbidden"


class BudgetScopeInvalid(Invalid):
    """This is nothing a budget can be about."""

    code = "budget_scope_invalid"


class BudgetExists(Conflict):
    """There is such a budget already."""

    code = "budget_exists"


class BudgetExceeded(LimitReached):
    """A budget does not allow this call."""

    code = "budget_exceeded"


class CallUnknown(NotFound):
    """Nothing is reserved for this call."""

    code = "call_unknown"


class PriceUnknown(Forbidden):
    """Nobody knows what this model costs."""

    code = "price_unknown"


class PriceNotFound(NotFound):
    """No such price."""

    code = "price_not_found"


class PriceExists(Conflict):
    """There is a price from that time on already."""

    code = "price_exists"
