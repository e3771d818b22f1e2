"""Loads every table into ``Base.metadata``: for the migrations, the tests and the generators.

Nothing else imports it; the code of a slice imports the models it uses.
"""

from agentvine.db.base import Base
from agentvine.db.registry import REGISTRY
from agentvine.db.sqlite_checks import hold_sqlite_to_types
from agentvine.domains.agents import models as agents
from agentvine.domains.contexts import models as contexts
from agentvine.domains.conversations import models as conversations
from agentvine.domains.executions import models as executions
from agentvine.domains.gateway import models as gateway
from agentvine.domains.github import models as github
from agentvine.domains.identity import models as identity
from agentvine.domains.knowledge import models as knowledge
from agentvine.domains.modifications import models as modifications
from agentvine.domains.notifications import models as notifications
from agentvine.domains.plans import models as plans
from agentvine.domains.projects import models as projects
from agentvine.domains.questions import models as questions
from agentvine.domains.sources import models as sources
from agentvine.domains.studio import models as studio
from agentvine.domains.tasks import models as tasks
from agentvine.domains.team import models as team
from agentvine.domains.templates import models as templates
from agentvine.domains.usage import models as usage
from agentvine.domains.work import models as work
from agentvine.domains.workers import models as workers

SLICES = (
    identity,
    projects,
    agents,
    workers,
    knowledge,
    contexts,
    templates,
    sources,
    conversations,
    notifications,
    github,
    plans,
    tasks,
    work,
    executions,
    usage,
    modifications,
    gateway,
    questions,
    studio,
    team,
)
"""The modules that hold tables, lowest slice first."""

metadata = Base.metadata
hold_sqlite_to_types(metadata)
REGISTRY.updated_at_triggers(metadata)
