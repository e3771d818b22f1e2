"""Keeping a database's planner to the index that fits, whatever it knows of the rows."""

from sqlalchemy import ColumnElement, true


def by_no_index(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """The same condition, for which no index is looked at.

    For what is asked of rows that another condition finds already. Without statistics a database
    may take this one's index instead, and look at all rows in the same state; or combine the two,
    which gives all of them as well, to be sorted for the first.
    """
    return condition.is_(true())
