"""Ids and enumerations of the GitHub slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

GithubIssueId = NewType("GithubIssueId", UUID)
PullRequestId = NewType("PullRequestId", UUID)
WebhookId = NewType("WebhookId", UUID)


class IssueState(StrEnum):
    """An issue's state on GitHub."""

    OPEN = "open"
    CLOSED = "closed"


class PullRequestState(StrEnum):
    """A pull request's state; merged is told apart from closed."""

    OPEN = "open"
    CLOSED = "closed"
    MERGED = "merged"
