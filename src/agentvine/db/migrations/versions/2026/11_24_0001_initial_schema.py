"""The whole schema, as the product starts with it.

Revision: 0001_initial_schema, the first one.
"""

from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001_initial_schema"
down_revision = None
branch_labels = None
depends_on = None

_TIME = sa.DateTime(timezone=True)
_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TABLES = (
    "users",
    "api_tokens",
    "login_sessions",
    "recovery_codes",
    "audit_events",
    "events",
    "idempotency_keys",
    "server_state",
    "projects",
    "project_members",
    "repositories",
    "project_contexts",
    "templates",
    "agents",
    "agent_memory",
    "workers",
    "worker_capabilities",
    "context_documents",
    "conversations",
    "conversation_participants",
    "messages",
    "chat_messages",
    "chat_attachments",
    "notifications",
    "github_issues",
    "pull_requests",
    "webhooks",
    "plans",
    "plan_artifacts",
    "chat_sessions",
    "tasks",
    "task_dependencies",
    "capability_sets",
    "work_orders",
    "worker_assignments",
    "executions",
    "execution_logs",
    "change_bundles",
    "token_usage",
    "budget_limits",
    "budget_counters",
    "budget_reservations",
    "modifications",
    "code_snippets",
    "tests",
    "schema_designs",
)
"""In the order of their foreign keys."""


def upgrade() -> None:
    _create_identity()
    _create_projects()
    _create_agents_and_workers()
    _create_knowledge()
    _create_conversations()
    _create_notifications()
    _create_github()
    _create_plans()
    _create_tasks()
    _create_work()
    _create_executions()
    _create_usage()
    _create_modifications()
    _create_studio()


def downgrade() -> None:
    for table in reversed(_TABLES):
        op.drop_table(table)


def _create_identity() -> None:
    _create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("username", sa.String(50), nullable=False),
        sa.Column("email", sa.String(255), nullable=False),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("full_name", sa.String(255)),
        sa.Column("role", sa.String(20), nullable=False, server_default=sa.text("'developer'")),
        sa.Column("is_2fa_enabled", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("totp_secret", sa.String(255)),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true")),
        sa.Column("is_admin", sa.Boolean(), sa.Computed("role = 'admin'", persisted=True)),
        sa.Column("is_verified", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("telegram_chat_id", sa.BigInteger()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("last_login_at", _TIME),
        sa.Column("settings", _JSON, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
        sa.CheckConstraint(
            "role IN ('admin', 'developer', 'viewer')", name=op.f("ck_users_role_ee5d")
        ),
    )
    op.create_index("idx_users_email", "users", ["email"])
    op.create_index("idx_users_role", "users", ["role"])
    op.create_index("idx_users_username", "users", ["username"])
    _create_table(
        "api_tokens",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("worker_id", sa.Uuid()),
        sa.Column("work_order_id", sa.Uuid()),
        sa.Column("fence", sa.BigInteger()),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(100)),
        sa.Column("prefix", sa.String(32), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("scopes", _JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("expires_at", _TIME),
        sa.Column("last_used_at", _TIME),
        sa.Column("revoked_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_tokens")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_tokens_prefix")),
        sa.CheckConstraint(
            "kind IN ('user', 'worker', 'gateway')", name=op.f("ck_api_tokens_kind_16ef")
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_api_tokens_user_id_users"), ondelete="CASCADE"
        ),
    )
    op.create_index("idx_api_tokens_user", "api_tokens", ["user_id"])
    op.create_index("idx_api_tokens_work_order", "api_tokens", ["work_order_id"])
    op.create_index("idx_api_tokens_worker", "api_tokens", ["worker_id"])
    _create_table(
        "login_sessions",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("user_agent", sa.String(255)),
        sa.Column("ip_address", sa.String(45)),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.Column("last_seen_at", _TIME),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_sessions")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_sessions_token_hash")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_login_sessions_user_id_users"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_login_sessions_expires", "login_sessions", ["expires_at"])
    op.create_index("idx_login_sessions_user", "login_sessions", ["user_id"])
    _create_table(
        "recovery_codes",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("code_hash", sa.String(255), nullable=False),
        sa.Column("used_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_codes")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_recovery_codes_user_id_users"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_recovery_codes_user", "recovery_codes", ["user_id"])
    _create_table(
        "audit_events",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False, server_default=_now()),
        sa.Column("actor_type", sa.String(20), nullable=False),
        sa.Column("actor_id", sa.String(100), nullable=False),
        sa.Column("actor_label", sa.String(200)),
        sa.Column("action", sa.String(100), nullable=False),
        sa.Column("entity_type", sa.String(50), nullable=False),
        sa.Column("entity_id", sa.String(100), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("before", _JSON),
        sa.Column("after", _JSON),
        sa.Column("request_id", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_audit_events_actor", "audit_events", ["actor_id"])
    op.create_index("idx_audit_events_entity", "audit_events", ["entity_type", "entity_id"])
    op.create_index("idx_audit_events_occurred", "audit_events", ["occurred_at"])
    op.create_index("idx_audit_events_project", "audit_events", ["project_id", "id"])
    _create_table(
        "events",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("occurred_at", _TIME, nullable=False, server_default=_now()),
        sa.Column("type", sa.String(100), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("entity_type", sa.String(50)),
        sa.Column("entity_id", sa.String(100)),
        sa.Column("payload", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_events_occurred", "events", ["occurred_at"])
    op.create_index("idx_events_project", "events", ["project_id", "id"])
    _create_table(
        "idempotency_keys",
        sa.Column("actor_id", sa.String(100), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("method_path", sa.String(300), nullable=False),
        sa.Column("request_hash", sa.String(64), nullable=False),
        sa.Column("status_code", sa.Integer()),
        sa.Column("response", _JSON),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("actor_id", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index("idx_idempotency_keys_created", "idempotency_keys", ["created_at"])
    _create_table(
        "server_state",
        sa.Column("key", sa.String(100), nullable=False),
        sa.Column("value", _JSON, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_server_state")),
    )


def _create_projects() -> None:
    _create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("github_repo", sa.String(255)),
        sa.Column("github_app_id", sa.String(100)),
        sa.Column("github_installation_id", sa.String(100)),
        sa.Column("local_path", sa.String(500)),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true")),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("settings", _JSON, server_default=sa.text("'{}'")),
        sa.Column("next_task_number", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("deleted_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_projects_owner_id_users"), ondelete="CASCADE"
        ),
    )
    op.create_index("idx_projects_github", "projects", ["github_repo"])
    op.create_index("idx_projects_owner", "projects", ["owner_id"])
    _create_table(
        "project_members",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(20), nullable=False, server_default=sa.text("'developer'")),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("project_id", "user_id", name=op.f("pk_project_members")),
        sa.CheckConstraint(
            "role IN ('developer', 'viewer')", name=op.f("ck_project_members_role_c5d7")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_project_members_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_project_members_user_id_users"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_project_members_user", "project_members", ["user_id"])
    _create_table(
        "repositories",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("git_url", sa.Text()),
        sa.Column("default_branch", sa.String(100), server_default=sa.text("'main'")),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("test_command", sa.Text()),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("path", name=op.f("uq_repositories_path")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_repositories_project_id_projects"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_repositories_path", "repositories", ["path"])
    op.create_index("idx_repositories_project", "repositories", ["project_id"])
    _create_table(
        "project_contexts",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("type", sa.String(50), nullable=False, server_default=sa.text("'other'")),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'active'")),
        sa.Column("owner_id", sa.String(255), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("repository_id", sa.Uuid()),
        sa.Column("codebase", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("dependencies", _STRINGS, nullable=False, server_default=_no_strings()),
        sa.Column("environment_vars", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("deployment_config", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("test_coverage", sa.Numeric(5, 2)),
        sa.Column("security_score", sa.Numeric(5, 2)),
        sa.Column("performance_score", sa.Numeric(5, 2)),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("last_deployed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_contexts")),
        sa.CheckConstraint(
            "status IN ('active', 'archived', 'deleted')",
            name=op.f("ck_project_contexts_status_bd0f"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_project_contexts_project_id_projects"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_project_contexts_repository_id_repositories"),
            ondelete="SET NULL",
        ),
    )
    _create_gin_index("idx_project_contexts_codebase", "project_contexts", "codebase")
    op.create_index("idx_project_contexts_created_at", "project_contexts", ["created_at"])
    _create_gin_index(
        "idx_project_contexts_environment_vars", "project_contexts", "environment_vars"
    )
    op.create_index("idx_project_contexts_owner_id", "project_contexts", ["owner_id"])
    op.create_index("idx_project_contexts_owner_status", "project_contexts", ["owner_id", "status"])
    op.create_index("idx_project_contexts_project", "project_contexts", ["project_id"])
    op.create_index("idx_project_contexts_repository", "project_contexts", ["repository_id"])
    op.create_index("idx_project_contexts_status", "project_contexts", ["status"])
    op.create_index("idx_project_contexts_type", "project_contexts", ["type"])
    op.create_index("idx_project_contexts_updated_at", "project_contexts", ["updated_at"])
    _create_table(
        "templates",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("category", sa.String(50), nullable=False),
        sa.Column("files", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("required_vars", _STRINGS, nullable=False, server_default=_no_strings()),
        sa.Column("optional_vars", _STRINGS, nullable=False, server_default=_no_strings()),
        sa.Column("tech_stack", _STRINGS, nullable=False, server_default=_no_strings()),
        sa.Column("estimated_setup_time", sa.Integer()),
        sa.Column("complexity", sa.String(20), nullable=False, server_default=sa.text("'medium'")),
        sa.Column("tags", _STRINGS, nullable=False, server_default=_no_strings()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_templates")),
        sa.CheckConstraint(
            "category IN ('api', 'web', 'mobile', 'data', 'microservice')",
            name=op.f("ck_templates_category_0c49"),
        ),
        sa.CheckConstraint(
            "complexity IN ('simple', 'medium', 'complex')",
            name=op.f("ck_templates_complexity_ce8b"),
        ),
    )
    op.create_index("idx_templates_category", "templates", ["category"])
    op.create_index("idx_templates_complexity", "templates", ["complexity"])
    op.create_index("idx_templates_created_at", "templates", ["created_at"])
    _create_gin_index("idx_templates_files", "templates", "files")
    _create_gin_index("idx_templates_tags", "templates", "tags")
    _create_gin_index("idx_templates_tech_stack", "templates", "tech_stack")


def _create_agents_and_workers() -> None:
    _create_table(
        "agents",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(50), nullable=False),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("model_config", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("system_prompt", sa.Text()),
        sa.Column("rules_file_path", sa.String(500)),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true")),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.CheckConstraint(
            "type IN ('orchestrator', 'architect', 'coder', 'tester', 'reviewer')",
            name=op.f("ck_agents_type_b74d"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_agents_project_id_projects"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_agents_project", "agents", ["project_id"])
    op.create_index("idx_agents_type", "agents", ["type"])
    _create_table(
        "agent_memory",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("category", sa.String(50), nullable=False),
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("value", _JSON, nullable=False),
        sa.Column("importance", sa.Integer(), server_default=sa.text("5")),
        sa.Column("expires_at", _TIME),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent_memory")),
        sa.UniqueConstraint(
            "agent_id",
            "project_id",
            "category",
            "key",
            name=op.f("uq_agent_memory_agent_id_project_id_category_key"),
        ),
        sa.CheckConstraint(
            "importance BETWEEN 1 AND 10", name=op.f("ck_agent_memory_importance_range")
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
            name=op.f("fk_agent_memory_agent_id_agents"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_agent_memory_project_id_projects")
        ),
    )
    op.create_index("idx_agent_memory_agent", "agent_memory", ["agent_id"])
    op.create_index("idx_agent_memory_expires", "agent_memory", ["expires_at"])
    op.create_index("idx_agent_memory_project", "agent_memory", ["project_id"])
    op.create_index(
        "uq_agent_memory_without_project",
        "agent_memory",
        ["agent_id", "category", "key"],
        unique=True,
        **_where("project_id IS NULL"),
    )
    _create_table(
        "workers",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("worker_type", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("version", sa.String(50)),
        sa.Column("max_concurrent_tasks", sa.Integer(), server_default=sa.text("1")),
        sa.Column("timeout_seconds", sa.Integer(), server_default=sa.text("3600")),
        sa.Column("context_window_size", sa.Integer(), server_default=sa.text("200000")),
        sa.Column("config", _JSON, server_default=sa.text("'{}'")),
        sa.Column("capabilities", _JSON, server_default=sa.text("'[]'")),
        sa.Column("last_heartbeat_at", _TIME),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("hostname", sa.String(255)),
        sa.Column("pid", sa.Integer()),
        sa.Column("accepts", _JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("runtimes", _JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("queues", _JSON, nullable=False, server_default=sa.text("'[\"default\"]'")),
        sa.Column("is_draining", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("started_at", _TIME),
        sa.Column("token_id", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("deleted_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
        sa.UniqueConstraint("name", name=op.f("uq_workers_name")),
        sa.CheckConstraint(
            "status IN ('idle', 'busy', 'offline', 'error')", name=op.f("ck_workers_status_fd0b")
        ),
        sa.CheckConstraint(
            "worker_type IN ('feature', 'bugfix', 'test', 'docs', 'refactor', 'review')",
            name=op.f("ck_workers_worker_type_b0ff"),
        ),
    )
    op.create_index("idx_workers_heartbeat", "workers", ["last_heartbeat_at"])
    op.create_index("idx_workers_status", "workers", ["status"])
    op.create_index("idx_workers_token", "workers", ["token_id"])
    op.create_index("idx_workers_type", "workers", ["worker_type"])
    op.create_index("idx_workers_type_status", "workers", ["worker_type", "status"])
    _create_table(
        "worker_capabilities",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("capability_name", sa.String(100), nullable=False),
        sa.Column("capability_level", sa.String(20), server_default=sa.text("'intermediate'")),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_capabilities")),
        sa.UniqueConstraint(
            "worker_id",
            "capability_name",
            name=op.f("uq_worker_capabilities_worker_id_capability_name"),
        ),
        sa.CheckConstraint(
            "capability_level IN ('beginner', 'intermediate', 'advanced', 'expert')",
            name=op.f("ck_worker_capabilities_capability_level_1c31"),
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"],
            ["workers.id"],
            name=op.f("fk_worker_capabilities_worker_id_workers"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_worker_caps_name", "worker_capabilities", ["capability_name"])
    op.create_index("idx_worker_caps_worker", "worker_capabilities", ["worker_id"])


def _create_knowledge() -> None:
    _create_table(
        "context_documents",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("title", sa.String(255), nullable=False),
        sa.Column("document_type", sa.String(50), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("repository_url", sa.String(500)),
        sa.Column("tags", _strings(sa.String(50)), server_default=_no_strings()),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("version", sa.Integer(), server_default=sa.text("1")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_context_documents")),
        sa.CheckConstraint(
            "document_type IN ('design', 'plan', 'specification', 'guide', 'reference')",
            name=op.f("ck_context_documents_document_type_6639"),
        ),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["users.id"],
            name=op.f("fk_context_documents_created_by_users"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_context_docs_created_by", "context_documents", ["created_by"])
    op.create_index("idx_context_docs_repo", "context_documents", ["repository_url"])
    _create_gin_index("idx_context_docs_tags", "context_documents", "tags")
    op.create_index("idx_context_docs_type", "context_documents", ["document_type"])


def _create_conversations() -> None:
    _create_table(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("title", sa.String(200)),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("status", sa.String(20), server_default=sa.text("'active'")),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("created_by_user_id", sa.Uuid()),
        sa.Column("created_by_agent_id", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
        sa.CheckConstraint(
            "status IN ('active', 'paused', 'completed', 'archived')",
            name=op.f("ck_conversations_status_04fc"),
        ),
        sa.CheckConstraint(
            "type IN ('issue', 'general', 'task', 'review')",
            name=op.f("ck_conversations_type_7eec"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_conversations_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["created_by_user_id"],
            ["users.id"],
            name=op.f("fk_conversations_created_by_user_id_users"),
        ),
        sa.ForeignKeyConstraint(
            ["created_by_agent_id"],
            ["agents.id"],
            name=op.f("fk_conversations_created_by_agent_id_agents"),
        ),
    )
    op.create_index("idx_conversations_created_by_agent", "conversations", ["created_by_agent_id"])
    op.create_index("idx_conversations_created_by_user", "conversations", ["created_by_user_id"])
    op.create_index("idx_conversations_project", "conversations", ["project_id"])
    op.create_index("idx_conversations_status", "conversations", ["status"])
    _create_table(
        "conversation_participants",
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("agent_id", sa.Uuid(), nullable=False),
        sa.Column("joined_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint(
            "conversation_id", "agent_id", name=op.f("pk_conversation_participants")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_conversation_participants_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
            name=op.f("fk_conversation_participants_agent_id_agents"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(
        "idx_conversation_participants_agent", "conversation_participants", ["agent_id"]
    )
    _create_table(
        "messages",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("author_type", sa.String(20), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("content_formatted", sa.Text()),
        sa.Column("reply_to_id", sa.Uuid()),
        sa.Column("tokens_in", sa.Integer(), server_default=sa.text("0")),
        sa.Column("tokens_out", sa.Integer(), server_default=sa.text("0")),
        sa.Column("cost_usd", _decimal(10, 6), server_default=_amount("0")),
        sa.Column("model_used", sa.String(100)),
        sa.Column("is_edited", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_messages")),
        sa.CheckConstraint(
            "author_type IN ('user', 'agent')", name=op.f("ck_messages_author_type_1281")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_messages_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_messages_user_id_users"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
            name=op.f("fk_messages_agent_id_agents"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["reply_to_id"], ["messages.id"], name=op.f("fk_messages_reply_to_id_messages")
        ),
    )
    op.create_index("idx_messages_agent", "messages", ["agent_id"])
    op.create_index(
        "idx_messages_conversation_created", "messages", ["conversation_id", "created_at"]
    )
    op.create_index("idx_messages_reply_to", "messages", ["reply_to_id"])
    op.create_index("idx_messages_user", "messages", ["user_id"])
    _create_table(
        "chat_messages",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("sender_type", sa.String(10), nullable=False),
        sa.Column("sender_id", sa.Uuid()),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("message_type", sa.String(20), nullable=False, server_default=sa.text("'text'")),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.Column("parent_message_id", sa.Uuid()),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("expires_at", _TIME),
        sa.Column("answered_by_id", sa.Uuid()),
        sa.Column("answered_at", _TIME),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("edited_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_messages")),
        sa.CheckConstraint(
            "message_type IN ('text', 'question', 'response', 'status', 'error')",
            name=op.f("ck_chat_messages_message_type_075c"),
        ),
        sa.CheckConstraint(
            "sender_type IN ('user', 'worker', 'system', 'controller')",
            name=op.f("ck_chat_messages_sender_type_d75f"),
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_chat_messages_conversation_id_conversations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent_message_id"],
            ["chat_messages.id"],
            name=op.f("fk_chat_messages_parent_message_id_chat_messages"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["answered_by_id"],
            ["users.id"],
            name=op.f("fk_chat_messages_answered_by_id_users"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_chat_messages_answered_by", "chat_messages", ["answered_by_id"])
    op.create_index("idx_chat_messages_conversation", "chat_messages", ["conversation_id"])
    op.create_index("idx_chat_messages_created", "chat_messages", ["created_at"])
    op.create_index("idx_chat_messages_execution", "chat_messages", ["execution_id"])
    op.create_index("idx_chat_messages_expires", "chat_messages", ["expires_at"])
    op.create_index("idx_chat_messages_parent", "chat_messages", ["parent_message_id"])
    op.create_index("idx_chat_messages_sender", "chat_messages", ["sender_type", "sender_id"])
    _create_table(
        "chat_attachments",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("file_name", sa.String(255), nullable=False),
        sa.Column("file_path", sa.String(500), nullable=False),
        sa.Column("file_type", sa.String(50)),
        sa.Column("file_size_bytes", sa.BigInteger()),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_attachments")),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["chat_messages.id"],
            name=op.f("fk_chat_attachments_message_id_chat_messages"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_chat_attachments_message", "chat_attachments", ["message_id"])


def _create_notifications() -> None:
    _create_table(
        "notifications",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("type", sa.String(50), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("severity", sa.String(20), server_default=sa.text("'info'")),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("is_read", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("sent_telegram", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("sent_email", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("next_attempt_at", _TIME),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notifications")),
        sa.CheckConstraint(
            "severity IN ('info', 'warning', 'critical')",
            name=op.f("ck_notifications_severity_fd11"),
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_notifications_user_id_users"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_notifications_project_id_projects")
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"], ["agents.id"], name=op.f("fk_notifications_agent_id_agents")
        ),
    )
    op.create_index("idx_notifications_agent", "notifications", ["agent_id"])
    op.create_index("idx_notifications_created", "notifications", ["created_at"])
    op.create_index("idx_notifications_next_attempt", "notifications", ["next_attempt_at"])
    op.create_index("idx_notifications_project", "notifications", ["project_id"])
    op.create_index("idx_notifications_read", "notifications", ["user_id", "is_read"])
    op.create_index("idx_notifications_user", "notifications", ["user_id"])


def _create_github() -> None:
    _create_table(
        "github_issues",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("github_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("state", sa.String(20), nullable=False, server_default=sa.text("'open'")),
        sa.Column("labels", _JSON, server_default=sa.text("'[]'")),
        sa.Column("assignee", sa.String(100)),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("github_created_at", _TIME),
        sa.Column("github_updated_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_github_issues")),
        sa.UniqueConstraint("github_id", name=op.f("uq_github_issues_github_id")),
        sa.UniqueConstraint(
            "project_id", "number", name=op.f("uq_github_issues_project_id_number")
        ),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_github_issues_state_cadf")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_github_issues_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_github_issues_conversation_id_conversations"),
        ),
    )
    op.create_index("idx_issues_conversation", "github_issues", ["conversation_id"])
    op.create_index("idx_issues_project", "github_issues", ["project_id"])
    op.create_index("idx_issues_state", "github_issues", ["state"])
    _create_table(
        "pull_requests",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("github_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(500), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("branch_from", sa.String(200), nullable=False),
        sa.Column("branch_to", sa.String(200), nullable=False),
        sa.Column("state", sa.String(20), nullable=False, server_default=sa.text("'open'")),
        sa.Column("is_draft", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("review_status", sa.String(20)),
        sa.Column("test_status", sa.String(20)),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("issue_id", sa.Uuid()),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("created_by_agent_id", sa.Uuid()),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("merged_at", _TIME),
        sa.Column("github_created_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pull_requests")),
        sa.UniqueConstraint("github_id", name=op.f("uq_pull_requests_github_id")),
        sa.UniqueConstraint(
            "project_id", "number", name=op.f("uq_pull_requests_project_id_number")
        ),
        sa.CheckConstraint(
            "state IN ('open', 'closed', 'merged')", name=op.f("ck_pull_requests_state_530e")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_pull_requests_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["issue_id"], ["github_issues.id"], name=op.f("fk_pull_requests_issue_id_github_issues")
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_pull_requests_conversation_id_conversations"),
        ),
        sa.ForeignKeyConstraint(
            ["created_by_agent_id"],
            ["agents.id"],
            name=op.f("fk_pull_requests_created_by_agent_id_agents"),
        ),
    )
    op.create_index("idx_prs_agent", "pull_requests", ["created_by_agent_id"])
    op.create_index("idx_prs_conversation", "pull_requests", ["conversation_id"])
    op.create_index("idx_prs_issue", "pull_requests", ["issue_id"])
    op.create_index("idx_prs_project", "pull_requests", ["project_id"])
    op.create_index("idx_prs_state", "pull_requests", ["state"])
    _create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("source", sa.String(50), nullable=False),
        sa.Column("event_type", sa.String(100), nullable=False),
        sa.Column("delivery_id", sa.String(100)),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("processed", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("processed_at", _TIME),
        sa.Column("error_message", sa.Text()),
        sa.Column("retry_count", sa.Integer(), server_default=sa.text("0")),
        sa.Column("max_retries", sa.Integer(), server_default=sa.text("5")),
        sa.Column("next_attempt_at", _TIME),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("source", "delivery_id", name=op.f("uq_webhooks_source_delivery_id")),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_webhooks_project_id_projects"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_webhooks_created", "webhooks", ["created_at"])
    op.create_index("idx_webhooks_next_attempt", "webhooks", ["next_attempt_at"])
    op.create_index("idx_webhooks_processed", "webhooks", ["processed"])
    op.create_index("idx_webhooks_project", "webhooks", ["project_id"])


def _create_plans() -> None:
    _create_table(
        "plans",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("repository_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("target_branch", sa.String(100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("status", sa.String(20), server_default=sa.text("'draft'")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
        sa.UniqueConstraint(
            "repository_id", "name", "version", name=op.f("uq_plans_repository_id_name_version")
        ),
        sa.CheckConstraint(
            "status IN ('draft', 'active', 'completed', 'archived')",
            name=op.f("ck_plans_status_4ddb"),
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_plans_repository_id_repositories"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_plans_repository_status", "plans", ["repository_id", "status"])
    op.create_index("idx_plans_status", "plans", ["status"])
    op.create_index("idx_plans_version", "plans", ["repository_id", "name", "version"])
    _create_table(
        "plan_artifacts",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("content", _JSON, nullable=False),
        sa.Column("artifact_type", sa.String(30), nullable=False),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plan_artifacts")),
        sa.CheckConstraint(
            "artifact_type IN ('feature_plan', 'implementation_steps', 'code_changes')",
            name=op.f("ck_plan_artifacts_artifact_type_c7ce"),
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["plans.id"],
            name=op.f("fk_plan_artifacts_plan_id_plans"),
            ondelete="CASCADE",
        ),
    )
    _create_gin_index("idx_plan_artifacts_content_gin", "plan_artifacts", "content")
    op.create_index("idx_plan_artifacts_plan_type", "plan_artifacts", ["plan_id", "artifact_type"])
    _create_table(
        "chat_sessions",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("plan_id", sa.Uuid(), nullable=False),
        sa.Column("messages", _JSON, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("status", sa.String(20), server_default=sa.text("'active'")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_sessions")),
        sa.CheckConstraint(
            "status IN ('active', 'completed')", name=op.f("ck_chat_sessions_status_59c7")
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["plans.id"],
            name=op.f("fk_chat_sessions_plan_id_plans"),
            ondelete="CASCADE",
        ),
    )
    _create_gin_index("idx_chat_messages_gin", "chat_sessions", "messages")
    op.create_index("idx_chat_sessions_plan_status", "chat_sessions", ["plan_id", "status"])
    op.create_index("idx_chat_sessions_status", "chat_sessions", ["status"])


def _create_tasks() -> None:
    _create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("number", sa.Integer()),
        sa.Column("title", sa.String(300), nullable=False),
        sa.Column("description", sa.Text()),
        sa.Column("task_type", sa.String(20), nullable=False),
        sa.Column(
            "permission_level",
            sa.String(20),
            nullable=False,
            server_default=sa.text("'supervised'"),
        ),
        sa.Column("priority", sa.String(10), nullable=False, server_default=sa.text("'normal'")),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'pending'")),
        sa.Column("status_reason", sa.Text()),
        sa.Column("definition_of_done", sa.Text()),
        sa.Column("repository_url", sa.String(500)),
        sa.Column("branch_name", sa.String(255)),
        sa.Column("issue_number", sa.Integer()),
        sa.Column("pr_number", sa.Integer()),
        sa.Column("context", _JSON, server_default=sa.text("'{}'")),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.Column("total_tokens_used", sa.Integer(), server_default=sa.text("0")),
        sa.Column("total_cost_usd", _decimal(10, 6), server_default=_amount("0")),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("repository_id", sa.Uuid()),
        sa.Column("plan_id", sa.Uuid()),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("issue_id", sa.Uuid()),
        sa.Column("pr_id", sa.Uuid()),
        sa.Column("parent_task_id", sa.Uuid()),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("assigned_to", sa.Uuid()),
        sa.Column("assigned_to_agent_id", sa.Uuid()),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.Column("started_at", _TIME),
        sa.Column("completed_at", _TIME),
        sa.Column("deleted_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
        sa.UniqueConstraint("project_id", "number", name=op.f("uq_tasks_project_id_number")),
        sa.CheckConstraint(
            "permission_level IN ('autonomous', 'supervised', 'human_required')",
            name=op.f("ck_tasks_permission_level_5303"),
        ),
        sa.CheckConstraint(
            "priority IN ('low', 'normal', 'high', 'critical')", name=op.f("ck_tasks_priority_06ca")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'queued', 'in_progress', 'blocked', 'testing', 'review', 'completed', 'failed', 'cancelled')",
            name=op.f("ck_tasks_status_e382"),
        ),
        sa.CheckConstraint(
            "task_type IN ('feature', 'bugfix', 'test', 'docs', 'refactor', 'review')",
            name=op.f("ck_tasks_task_type_b0ff"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_tasks_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_tasks_repository_id_repositories"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"], ["plans.id"], name=op.f("fk_tasks_plan_id_plans"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_tasks_conversation_id_conversations"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["issue_id"],
            ["github_issues.id"],
            name=op.f("fk_tasks_issue_id_github_issues"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["pr_id"],
            ["pull_requests.id"],
            name=op.f("fk_tasks_pr_id_pull_requests"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["parent_task_id"],
            ["tasks.id"],
            name=op.f("fk_tasks_parent_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["users.id"],
            name=op.f("fk_tasks_created_by_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["assigned_to"],
            ["workers.id"],
            name=op.f("fk_tasks_assigned_to_workers"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["assigned_to_agent_id"],
            ["agents.id"],
            name=op.f("fk_tasks_assigned_to_agent_id_agents"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_tasks_agent", "tasks", ["assigned_to_agent_id"])
    op.create_index("idx_tasks_assigned_to", "tasks", ["assigned_to"])
    op.create_index("idx_tasks_conversation", "tasks", ["conversation_id"])
    op.create_index("idx_tasks_created_by", "tasks", ["created_by"])
    op.create_index("idx_tasks_issue", "tasks", ["issue_id"])
    op.create_index("idx_tasks_parent", "tasks", ["parent_task_id"])
    op.create_index("idx_tasks_plan", "tasks", ["plan_id"])
    op.create_index("idx_tasks_pr", "tasks", ["pr_id"])
    op.create_index("idx_tasks_priority", "tasks", ["priority"])
    op.create_index("idx_tasks_project", "tasks", ["project_id"])
    op.create_index("idx_tasks_repository", "tasks", ["repository_id"])
    op.create_index("idx_tasks_status", "tasks", ["status"])
    op.create_index("idx_tasks_status_priority", "tasks", ["status", "priority"])
    op.create_index("idx_tasks_type", "tasks", ["task_type"])
    _create_table(
        "task_dependencies",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("depends_on_task_id", sa.Uuid(), nullable=False),
        sa.Column(
            "dependency_type", sa.String(20), nullable=False, server_default=sa.text("'blocks'")
        ),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_dependencies")),
        sa.UniqueConstraint(
            "task_id",
            "depends_on_task_id",
            name=op.f("uq_task_dependencies_task_id_depends_on_task_id"),
        ),
        sa.CheckConstraint(
            "dependency_type IN ('blocks', 'related', 'duplicate')",
            name=op.f("ck_task_dependencies_dependency_type_da79"),
        ),
        sa.CheckConstraint(
            "task_id != depends_on_task_id", name=op.f("ck_task_dependencies_not_itself")
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_task_dependencies_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["depends_on_task_id"],
            ["tasks.id"],
            name=op.f("fk_task_dependencies_depends_on_task_id_tasks"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_task_deps_depends_on", "task_dependencies", ["depends_on_task_id"])
    op.create_index("idx_task_deps_task", "task_dependencies", ["task_id"])


def _create_work() -> None:
    _create_table(
        "capability_sets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("requirements", _JSON, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_capability_sets")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_capability_sets_fingerprint")),
    )
    _create_table(
        "work_orders",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("queue_name", sa.String(50), nullable=False),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'pending'")),
        sa.Column("priority", sa.String(10), nullable=False, server_default=sa.text("'normal'")),
        sa.Column("rank", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("payload", _JSON, nullable=False),
        sa.Column("result", _JSON),
        sa.Column("error_message", sa.Text()),
        sa.Column("retry_count", sa.Integer(), server_default=sa.text("0")),
        sa.Column("max_retries", sa.Integer(), server_default=sa.text("3")),
        sa.Column("timeout_seconds", sa.Integer(), server_default=sa.text("3600")),
        sa.Column("worker_type", sa.String(20)),
        sa.Column("runtime", sa.String(50)),
        sa.Column("required_capabilities", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("capability_set_id", sa.Integer()),
        sa.Column("available_at", _TIME, nullable=False, server_default=_now()),
        sa.Column("fence", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("claim_token", sa.String(64)),
        sa.Column("lease_expires_at", _TIME),
        sa.Column("worker_id", sa.Uuid()),
        sa.Column("worker_session_id", sa.Uuid()),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("cancel_requested_at", _TIME),
        sa.Column("lost_count", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("last_failure_class", sa.String(50)),
        sa.Column("enqueued_at", _TIME, server_default=_now()),
        sa.Column("claimed_at", _TIME),
        sa.Column("completed_at", _TIME),
        sa.Column("expires_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_orders")),
        sa.CheckConstraint(
            "priority IN ('low', 'normal', 'high', 'critical')",
            name=op.f("ck_work_orders_priority_06ca"),
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'claimed', 'completed', 'failed', 'expired')",
            name=op.f("ck_work_orders_status_14af"),
        ),
        sa.CheckConstraint(
            "worker_type IN ('feature', 'bugfix', 'test', 'docs', 'refactor', 'review')",
            name=op.f("ck_work_orders_worker_type_b0ff"),
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_work_orders_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["capability_set_id"],
            ["capability_sets.id"],
            name=op.f("fk_work_orders_capability_set_id_capability_sets"),
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"],
            ["workers.id"],
            name=op.f("fk_work_orders_worker_id_workers"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_work_orders_capability_set", "work_orders", ["capability_set_id"])
    op.create_index(
        "idx_work_orders_claim_token",
        "work_orders",
        ["claim_token"],
        **_where("claim_token IS NOT NULL"),
    )
    op.create_index("idx_work_orders_enqueued", "work_orders", ["enqueued_at"])
    op.create_index("idx_work_orders_expires", "work_orders", ["expires_at"])
    op.create_index(
        "idx_work_orders_held",
        "work_orders",
        ["worker_id", "status"],
        **_where("status = 'claimed'"),
    )
    op.create_index(
        "idx_work_orders_lease", "work_orders", ["lease_expires_at"], **_where("status = 'claimed'")
    )
    op.create_index("idx_work_orders_queue", "work_orders", ["queue_name"])
    op.create_index(
        "idx_work_orders_ready",
        "work_orders",
        ["queue_name", "rank", "id"],
        **_where("status = 'pending'"),
    )
    op.create_index("idx_work_orders_status", "work_orders", ["status"])
    op.create_index("idx_work_orders_task", "work_orders", ["task_id"])
    op.create_index("idx_work_orders_worker", "work_orders", ["worker_id"])
    _create_table(
        "worker_assignments",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("work_order_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'active'")),
        sa.Column("fence", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("assigned_at", _TIME, server_default=_now()),
        sa.Column("completed_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker_assignments")),
        sa.UniqueConstraint(
            "worker_id", "work_order_id", name=op.f("uq_worker_assignments_worker_id_work_order_id")
        ),
        sa.CheckConstraint(
            "status IN ('active', 'completed', 'failed', 'timeout')",
            name=op.f("ck_worker_assignments_status_aee9"),
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"],
            ["workers.id"],
            name=op.f("fk_worker_assignments_worker_id_workers"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["work_order_id"],
            ["work_orders.id"],
            name=op.f("fk_worker_assignments_work_order_id_work_orders"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("idx_assignments_order", "worker_assignments", ["work_order_id"])
    op.create_index("idx_assignments_status", "worker_assignments", ["status"])
    op.create_index("idx_assignments_worker", "worker_assignments", ["worker_id"])


def _create_executions() -> None:
    _create_table(
        "executions",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("worker_id", sa.Uuid(), nullable=False),
        sa.Column("work_order_id", sa.Uuid()),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'running'")),
        sa.Column("phase", sa.String(20), nullable=False, server_default=sa.text("'starting'")),
        sa.Column("runtime", sa.String(50)),
        sa.Column("model", sa.String(100)),
        sa.Column("session_id", sa.String(200)),
        sa.Column("fence", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("attempt", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("stdout_log", sa.Text()),
        sa.Column("stderr_log", sa.Text()),
        sa.Column("failure_class", sa.String(50)),
        sa.Column("failure_message", sa.Text()),
        sa.Column("metrics", _JSON, server_default=sa.text("'{}'")),
        sa.Column("report", _JSON),
        sa.Column("started_at", _TIME, server_default=_now()),
        sa.Column("completed_at", _TIME),
        sa.Column("duration_seconds", sa.Integer()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executions")),
        sa.UniqueConstraint(
            "work_order_id", "fence", name=op.f("uq_executions_work_order_id_fence")
        ),
        sa.CheckConstraint(
            "phase IN ('starting', 'preparing', 'running', 'testing', 'reporting', 'finished')",
            name=op.f("ck_executions_phase_2d83"),
        ),
        sa.CheckConstraint(
            "status IN ('running', 'completed', 'failed', 'timeout', 'cancelled')",
            name=op.f("ck_executions_status_32db"),
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_executions_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["worker_id"],
            ["workers.id"],
            name=op.f("fk_executions_worker_id_workers"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["work_order_id"],
            ["work_orders.id"],
            name=op.f("fk_executions_work_order_id_work_orders"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
            name=op.f("fk_executions_agent_id_agents"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_executions_agent", "executions", ["agent_id"])
    op.create_index("idx_executions_started", "executions", ["started_at"])
    op.create_index("idx_executions_status", "executions", ["status"])
    op.create_index("idx_executions_task", "executions", ["task_id"])
    op.create_index("idx_executions_task_status", "executions", ["task_id", "status"])
    op.create_index("idx_executions_worker", "executions", ["worker_id"])
    _create_table(
        "execution_logs",
        sa.Column("id", _COUNTED, nullable=False),
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("level", sa.String(10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("stream", sa.String(20), nullable=False, server_default=sa.text("'system'")),
        sa.Column("seq", sa.BigInteger()),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.Column("logged_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_execution_logs")),
        sa.UniqueConstraint(
            "execution_id", "stream", "seq", name=op.f("uq_execution_logs_execution_id_stream_seq")
        ),
        sa.CheckConstraint(
            "level IN ('DEBUG', 'INFO', 'WARNING', 'ERROR', 'CRITICAL')",
            name=op.f("ck_execution_logs_level_88f2"),
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_execution_logs_execution_id_executions"),
            ondelete="CASCADE",
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_execution_logs_execution", "execution_logs", ["execution_id"])
    op.create_index("idx_execution_logs_level", "execution_logs", ["level"])
    op.create_index("idx_execution_logs_logged_at", "execution_logs", ["logged_at"])
    _create_table(
        "change_bundles",
        sa.Column("execution_id", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("imported_ref", sa.String(255)),
        sa.Column("imported_at", _TIME),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("execution_id", name=op.f("pk_change_bundles")),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_change_bundles_execution_id_executions"),
            ondelete="CASCADE",
        ),
    )


def _create_usage() -> None:
    _create_table(
        "token_usage",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("timestamp", _TIME, server_default=_now()),
        sa.Column("usage_date", sa.Date(), nullable=False),
        sa.Column("user_id", sa.Uuid()),
        sa.Column("agent_id", sa.Uuid()),
        sa.Column("agent_type", sa.String(20)),
        sa.Column("conversation_id", sa.Uuid()),
        sa.Column("message_id", sa.Uuid()),
        sa.Column("project_id", sa.Uuid()),
        sa.Column("task_id", sa.Uuid()),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("request_id", sa.String(100)),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("tokens_in", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("tokens_out", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("tokens_cache_read", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("tokens_cache_write", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("cost_usd", _decimal(10, 6), nullable=False, server_default=_amount("0")),
        sa.Column("request_duration_ms", sa.Integer()),
        sa.Column("was_cached", sa.Boolean(), server_default=sa.text("false")),
        sa.Column("metadata", _JSON, server_default=sa.text("'{}'")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_usage")),
        sa.UniqueConstraint("request_id", name=op.f("uq_token_usage_request_id")),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["users.id"],
            name=op.f("fk_token_usage_user_id_users"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["agent_id"],
            ["agents.id"],
            name=op.f("fk_token_usage_agent_id_agents"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversations.id"],
            name=op.f("fk_token_usage_conversation_id_conversations"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=op.f("fk_token_usage_message_id_messages"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_token_usage_project_id_projects"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_token_usage_task_id_tasks"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_token_usage_execution_id_executions"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_token_usage_agent", "token_usage", ["agent_id"])
    op.create_index("idx_token_usage_conversation", "token_usage", ["conversation_id"])
    op.create_index("idx_token_usage_date", "token_usage", ["usage_date"])
    op.create_index("idx_token_usage_execution", "token_usage", ["execution_id"])
    op.create_index("idx_token_usage_message", "token_usage", ["message_id"])
    op.create_index("idx_token_usage_project", "token_usage", ["project_id"])
    op.create_index("idx_token_usage_task", "token_usage", ["task_id"])
    op.create_index("idx_token_usage_timestamp", "token_usage", ["timestamp"])
    op.create_index("idx_token_usage_user", "token_usage", ["user_id"])
    _create_table(
        "budget_limits",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("scope_type", sa.String(20), nullable=False),
        sa.Column("scope_id", sa.Uuid()),
        sa.Column("scope_agent_type", sa.String(20)),
        sa.Column("amount_usd", _decimal(10, 2), nullable=False),
        sa.Column("period", sa.String(20), nullable=False),
        sa.Column("alert_threshold", _decimal(3, 2), server_default=_amount("0.80")),
        sa.Column("action_on_exceed", sa.String(20), server_default=sa.text("'warn'")),
        sa.Column("is_active", sa.Boolean(), server_default=sa.text("true")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_limits")),
        sa.CheckConstraint(
            "action_on_exceed IN ('warn', 'block')",
            name=op.f("ck_budget_limits_action_on_exceed_1942"),
        ),
        sa.CheckConstraint(
            f"alert_threshold > 0 AND alert_threshold <= {_money_unit()}",
            name=op.f("ck_budget_limits_alert_threshold_range"),
        ),
        sa.CheckConstraint(
            "period IN ('daily', 'weekly', 'monthly')", name=op.f("ck_budget_limits_period_d25c")
        ),
        sa.CheckConstraint(
            "scope_type IN ('global', 'project', 'agent', 'agent_type')",
            name=op.f("ck_budget_limits_scope_type_9310"),
        ),
    )
    op.create_index("idx_budget_agent_type", "budget_limits", ["scope_type", "scope_agent_type"])
    op.create_index("idx_budget_scope", "budget_limits", ["scope_type", "scope_id"])
    _create_table(
        "budget_counters",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("budget_id", sa.Uuid(), nullable=False),
        sa.Column("period_start", sa.Date(), nullable=False),
        sa.Column("period_end", sa.Date()),
        sa.Column("spent_usd", _decimal(14, 6), nullable=False, server_default=_amount("0")),
        sa.Column("reserved_usd", _decimal(14, 6), nullable=False, server_default=_amount("0")),
        sa.Column("alerted_at", _TIME),
        sa.Column("updated_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_counters")),
        sa.UniqueConstraint(
            "budget_id", "period_start", name=op.f("uq_budget_counters_budget_id_period_start")
        ),
        sa.ForeignKeyConstraint(
            ["budget_id"],
            ["budget_limits.id"],
            name=op.f("fk_budget_counters_budget_id_budget_limits"),
            ondelete="CASCADE",
        ),
    )
    _create_table(
        "budget_reservations",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("counter_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.String(100), nullable=False),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("amount_usd", _decimal(14, 6), nullable=False),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'reserved'")),
        sa.Column("owner", sa.String(100)),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.Column("settled_at", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_budget_reservations")),
        sa.CheckConstraint(
            "status IN ('reserved', 'settled', 'expired', 'released')",
            name=op.f("ck_budget_reservations_status_a404"),
        ),
        sa.ForeignKeyConstraint(
            ["counter_id"],
            ["budget_counters.id"],
            name=op.f("fk_budget_reservations_counter_id_budget_counters"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_budget_reservations_execution_id_executions"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_budget_reservations_counter", "budget_reservations", ["counter_id"])
    op.create_index("idx_budget_reservations_execution", "budget_reservations", ["execution_id"])
    op.create_index("idx_budget_reservations_expires", "budget_reservations", ["expires_at"])
    op.create_index("idx_budget_reservations_request", "budget_reservations", ["request_id"])
    op.create_index("idx_budget_reservations_status", "budget_reservations", ["status"])


def _create_modifications() -> None:
    _create_table(
        "modifications",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("task_id", sa.Uuid()),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("repository_id", sa.Uuid()),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("requested_at", _TIME, server_default=_now()),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'pending'")),
        sa.Column("impact_analysis", _JSON, server_default=sa.text("'{}'")),
        sa.Column("affected_files", _STRINGS, server_default=_no_strings()),
        sa.Column("modified_files", _JSON, server_default=sa.text("'{}'")),
        sa.Column("test_results", _JSON, server_default=sa.text("'{}'")),
        sa.Column("tests_passed", sa.Boolean()),
        sa.Column("base_commit", sa.String(64)),
        sa.Column("head_commit", sa.String(64)),
        sa.Column("branch_name", sa.String(255)),
        sa.Column("target_branch", sa.String(255)),
        sa.Column("diff", sa.Text()),
        sa.Column("diff_stat", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("rescue_ref", sa.String(255)),
        sa.Column("merge_commit", sa.String(64)),
        sa.Column("revert_commit", sa.String(64)),
        sa.Column("decision_reason", sa.Text()),
        sa.Column("failure_message", sa.Text()),
        sa.Column("approved_by_id", sa.Uuid()),
        sa.Column("approved_at", _TIME),
        sa.Column("apply_requested_at", _TIME),
        sa.Column("applied_at", _TIME),
        sa.Column("reverted_at", _TIME),
        sa.Column("row_version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_modifications")),
        sa.CheckConstraint(
            "status IN ('pending', 'approved', 'applied', 'failed', 'rejected')",
            name=op.f("ck_modifications_status_029e"),
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project_contexts.id"],
            name=op.f("fk_modifications_project_id_project_contexts"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
            name=op.f("fk_modifications_task_id_tasks"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_modifications_execution_id_executions"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"],
            ["repositories.id"],
            name=op.f("fk_modifications_repository_id_repositories"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["approved_by_id"],
            ["users.id"],
            name=op.f("fk_modifications_approved_by_id_users"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_modifications_approved_by", "modifications", ["approved_by_id"])
    op.create_index("idx_modifications_execution", "modifications", ["execution_id"])
    _create_gin_index("idx_modifications_impact_analysis", "modifications", "impact_analysis")
    op.create_index("idx_modifications_project_id", "modifications", ["project_id"])
    op.create_index("idx_modifications_project_status", "modifications", ["project_id", "status"])
    op.create_index("idx_modifications_repository", "modifications", ["repository_id"])
    op.create_index("idx_modifications_requested_at", "modifications", ["requested_at"])
    op.create_index("idx_modifications_requested_by", "modifications", ["requested_by"])
    op.create_index("idx_modifications_status", "modifications", ["status"])
    op.create_index("idx_modifications_task", "modifications", ["task_id"])
    _create_gin_index("idx_modifications_test_results", "modifications", "test_results")
    _create_table(
        "code_snippets",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("execution_id", sa.Uuid()),
        sa.Column("file_path", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=_now()),
        sa.Column("updated_at", _TIME, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_code_snippets")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_code_snippets_project_id_projects")
        ),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.id"],
            name=op.f("fk_code_snippets_execution_id_executions"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_code_snippets_execution", "code_snippets", ["execution_id"])
    op.create_index("idx_code_snippets_project", "code_snippets", ["project_id"])
    _create_table(
        "tests",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("snippet_id", sa.Uuid()),
        sa.Column("name", sa.String(255)),
        sa.Column("command", sa.Text()),
        sa.Column("status", sa.String(20), nullable=False, server_default=sa.text("'pending'")),
        sa.Column("output", sa.Text()),
        sa.Column("duration_ms", sa.Integer()),
        sa.Column("last_run", _TIME),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tests")),
        sa.CheckConstraint(
            "status IN ('pending', 'passed', 'failed')", name=op.f("ck_tests_status_df11")
        ),
        sa.ForeignKeyConstraint(
            ["snippet_id"], ["code_snippets.id"], name=op.f("fk_tests_snippet_id_code_snippets")
        ),
    )
    op.create_index("idx_tests_snippet", "tests", ["snippet_id"])
    op.create_index("idx_tests_status", "tests", ["status"])


def _create_studio() -> None:
    _create_table(
        "schema_designs",
        sa.Column("id", sa.Uuid(), nullable=False, server_default=_random_uuid()),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False, server_default=sa.text("1")),
        sa.Column("dialect", sa.String(20), nullable=False, server_default=sa.text("'postgresql'")),
        sa.Column("requirements", sa.Text()),
        sa.Column("model", _JSON, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("report", _JSON),
        sa.Column("created_by", sa.Uuid()),
        sa.Column("created_at", _TIME, nullable=False, server_default=_now()),
        sa.Column("updated_at", _TIME, nullable=False, server_default=_now()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schema_designs")),
        sa.UniqueConstraint(
            "project_id", "name", "version", name=op.f("uq_schema_designs_project_id_name_version")
        ),
        sa.CheckConstraint(
            "dialect IN ('sqlite', 'postgresql')", name=op.f("ck_schema_designs_dialect_f4c2")
        ),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["projects.id"],
            name=op.f("fk_schema_designs_project_id_projects"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["users.id"],
            name=op.f("fk_schema_designs_created_by_users"),
            ondelete="SET NULL",
        ),
    )
    op.create_index("idx_schema_designs_created_by", "schema_designs", ["created_by"])


def _is_sqlite() -> bool:
    return op.get_context().dialect.name == "sqlite"


def _strings(item: sa.types.TypeEngine[str]) -> sa.types.TypeEngine[Any]:
    return sa.JSON().with_variant(postgresql.ARRAY(item), "postgresql")


def _decimal(precision: int, scale: int) -> sa.types.TypeEngine[Any]:
    return sa.DECIMAL(precision, scale)


_STRINGS = _strings(sa.Text())


def _now() -> sa.TextClause:
    if _is_sqlite():
        return sa.text("(strftime('%Y-%m-%d %H:%M:%f000Z', 'now'))")
    return sa.text("CURRENT_TIMESTAMP")


def _random_uuid() -> sa.TextClause:
    if _is_sqlite():
        return sa.text(
            "(lower(hex(randomblob(6)) || '4' || substr(hex(randomblob(2)), 2) || "
            "substr('89ab', 1 + (abs(random()) % 4), 1) || substr(hex(randomblob(2)), 2) || "
            "hex(randomblob(6))))"
        )
    return sa.text("gen_random_uuid()")


def _no_strings() -> sa.TextClause:
    return sa.text("'[]'" if _is_sqlite() else "'{}'")


def _money_unit() -> int:
    """SQLite keeps money in whole millionths."""
    return 1_000_000 if _is_sqlite() else 1


def _amount(amount: str) -> sa.TextClause:
    if _is_sqlite():
        return sa.text(str(int(Decimal(amount) * _money_unit())))
    return sa.text(amount)


def _where(rows: str) -> dict[str, Any]:
    return {"postgresql_where": sa.text(rows), "sqlite_where": sa.text(rows)}


def _create_gin_index(name: str, table: str, column: str) -> None:
    if not _is_sqlite():
        op.create_index(name, table, [column], postgresql_using="gin")


def _create_table(name: str, *items: Any, sqlite_autoincrement: bool = False) -> None:
    """Create a table; SQLite is held to the types of its columns by CHECKs."""
    checks: list[sa.CheckConstraint] = []
    if _is_sqlite():
        columns: list[sa.Column[Any]] = [item for item in items if isinstance(item, sa.Column)]
        listed = {
            str(item.sqltext).partition(" IN ")[0]
            for item in items
            if isinstance(item, sa.CheckConstraint)
        }
        for column in columns:
            if column.name not in listed and column.computed is None:
                checks += _type_check(name, column)
    op.create_table(name, *items, *checks, sqlite_autoincrement=sqlite_autoincrement)


def _type_check(table: str, column: sa.Column[Any]) -> list[sa.CheckConstraint]:
    kind, quoted = column.type, f'"{column.name}"'
    if isinstance(kind, sa.Text | sa.Uuid | sa.DateTime | sa.Date | sa.LargeBinary):
        return []
    if isinstance(kind, sa.String):
        rule, text = "length", f"length({quoted}) <= {kind.length}"
    elif isinstance(kind, sa.Boolean):
        rule, text = "boolean", f"{quoted} IN (0, 1)"
    elif isinstance(kind, sa.JSON):
        rule, text = "json", f"{quoted} IS NULL OR json_valid({quoted})"
    elif kind is _COUNTED or type(kind) is sa.Numeric or column.name == "id":
        return []
    else:
        rule, text = "integer", f"typeof({quoted}) IN ('integer', 'null')"
    return [sa.CheckConstraint(text, name=op.f(f"ck_{table}_{column.name}_{rule}"))]
