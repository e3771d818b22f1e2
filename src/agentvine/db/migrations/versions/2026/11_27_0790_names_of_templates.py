"""Let a name be taken once in a project, and once among the templates for all projects.

Of several of one name the oldest keeps it; the others are called NAME-2, NAME-3 and so on.

Revision: names_of_templates, after files_of_chats.
"""

import sqlalchemy as sa
from alembic import op

revision = "names_of_templates"
down_revision = "files_of_chats"
branch_labels = None
depends_on = None

_MAX_NAME = 255
_TABLE = sa.table(
    "templates",
    sa.column("id", sa.Uuid()),
    sa.column("name", sa.String()),
    sa.column("project_id", sa.Uuid()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)


def upgrade() -> None:
    _tell_apart()
    of_project, of_none = sa.text("project_id IS NOT NULL"), sa.text("project_id IS NULL")
    op.create_index(
        "uq_templates_project_name",
        "templates",
        ["project_id", "name"],
        unique=True,
        postgresql_where=of_project,
        sqlite_where=of_project,
    )
    op.create_index(
        "uq_templates_name_without_project",
        "templates",
        ["name"],
        unique=True,
        postgresql_where=of_none,
        sqlite_where=of_none,
    )


def downgrade() -> None:
    op.drop_index("uq_templates_name_without_project", "templates")
    op.drop_index("uq_templates_project_name", "templates")


def _tell_apart() -> None:
    connection = op.get_bind()
    columns = (_TABLE.c.id, _TABLE.c.name, _TABLE.c.project_id)
    oldest_first = sa.select(*columns).order_by(_TABLE.c.created_at, _TABLE.c.id)
    rows = connection.execute(oldest_first).all()
    taken = {(row.project_id, row.name) for row in rows}
    seen = set[tuple[object, str]]()
    for row in rows:
        if (row.project_id, row.name) not in seen:
            seen.add((row.project_id, row.name))
            continue
        number = 2
        while (row.project_id, _numbered(row.name, number)) in taken:
            number += 1
        name = _numbered(row.name, number)
        taken.add((row.project_id, name))
        connection.execute(sa.update(_TABLE).where(_TABLE.c.id == row.id).values(name=name))


def _numbered(name: str, number: int) -> str:
    suffix = f"-{number}"
    return name[: _MAX_NAME - len(suffix)] + suffix
