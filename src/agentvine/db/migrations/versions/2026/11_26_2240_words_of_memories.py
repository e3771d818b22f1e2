"""Find the memories of agents by their words, and the most important ones.

Revision: words_of_memories, after budgets_of_tokens_and_runs. The words themselves are a derived
table of the registry, which makes and fills it at the end of this migration.
"""

from alembic import op

revision = "words_of_memories"
down_revision = "budgets_of_tokens_and_runs"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "idx_agent_memory_importance", "agent_memory", ["agent_id", "importance", "updated_at"]
    )


def downgrade() -> None:
    op.drop_index("idx_agent_memory_importance", "agent_memory")
