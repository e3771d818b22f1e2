"""Words of the wire: the same ones the database stores and people type."""

from enum import StrEnum


class UserRole(StrEnum):
    """What a user may do at most, over all projects."""

    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class TaskStatus(StrEnum):
    """Where a task stands."""

    PENDING = "pending"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    BLOCKED = "blocked"
    TESTING = "testing"
    REVIEW = "review"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskType(StrEnum):
    """What kind of work a task is, and which workers take it."""

    FEATURE = "feature"
    BUGFIX = "bugfix"
    TEST = "test"
    DOCS = "docs"
    REFACTOR = "refactor"
    REVIEW = "review"


class DocumentType(StrEnum):
    """What a shared document is."""

    DESIGN = "design"
    PLAN = "plan"
    SPECIFICATION = "specification"
    GUIDE = "guide"
    REFERENCE = "reference"


class ContextStatus(StrEnum):
    """Where a project context stands; `deleted` is its soft delete."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"


class TaskPriority(StrEnum):
    """How soon; each step up counts as one ageing step of waiting."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    CRITICAL = "critical"

    @classmethod
    def _missing_(cls, value: object) -> "TaskPriority | None":
        # Other trackers' words for the same levels, accepted on input.
        return {"medium": cls.NORMAL, "urgent": cls.CRITICAL}.get(str(value))


class PermissionLevel(StrEnum):
    """How much happens without a person."""

    AUTONOMOUS = "autonomous"
    SUPERVISED = "supervised"
    HUMAN_REQUIRED = "human_required"


class TaskFileSource(StrEnum):
    """How it is known which files a task touches."""

    DECLARED = "declared"
    """Whoever made the task said so."""
    PLAN = "plan"
    """Its step of a plan says so."""
    IMPACT = "impact"
    """An analysis of what is asked for expects it."""
    HISTORY = "history"
    """Its last attempt changed them."""


class DependencyType(StrEnum):
    """How one task relates to another; only ``blocks`` holds a task back."""

    BLOCKS = "blocks"
    RELATED = "related"
    DUPLICATE = "duplicate"


class PlanStatus(StrEnum):
    """Where a plan version stands."""

    DRAFT = "draft"
    ACTIVE = "active"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class ArtifactType(StrEnum):
    """What a plan's artifact holds."""

    FEATURE_PLAN = "feature_plan"
    IMPLEMENTATION_STEPS = "implementation_steps"
    CODE_CHANGES = "code_changes"


class ChatSessionStatus(StrEnum):
    """Whether the dialogue about a plan goes on."""

    ACTIVE = "active"
    COMPLETED = "completed"


class CapabilityLevel(StrEnum):
    """How well a worker can do something, weakest first."""

    BEGINNER = "beginner"
    INTERMEDIATE = "intermediate"
    ADVANCED = "advanced"
    EXPERT = "expert"


class WorkerStatus(StrEnum):
    """What a worker is doing, as the server sees it."""

    IDLE = "idle"
    BUSY = "busy"
    OFFLINE = "offline"
    ERROR = "error"


class OrderStatus(StrEnum):
    """Where an order stands in its queue."""

    PENDING = "pending"
    CLAIMED = "claimed"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"


class LimitScope(StrEnum):
    """What a limit or a pause is about."""

    FLEET = "fleet"
    QUEUE = "queue"
    WORKER_TYPE = "worker_type"
    PROJECT = "project"
    REPOSITORY = "repository"
    AGENT = "agent"


class AssignmentStatus(StrEnum):
    """How a worker's hold on an order stands."""

    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"


class ExecutionStatus(StrEnum):
    """How one attempt stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class ExecutionPhase(StrEnum):
    """What a running attempt is doing right now."""

    STARTING = "starting"
    PREPARING = "preparing"
    RUNNING = "running"
    TESTING = "testing"
    REPORTING = "reporting"
    FINISHED = "finished"


class LogLevel(StrEnum):
    """Weight of a log line."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class ModificationStatus(StrEnum):
    """Where a change stands on its way to the target branch."""

    PENDING = "pending"
    APPROVED = "approved"
    APPLIED = "applied"
    FAILED = "failed"
    REJECTED = "rejected"


class ModificationStage(StrEnum):
    """What there is of a modification, whatever was decided about it."""

    REQUEST = "request"
    """Somebody has asked for it in words, and seen what is foreseen."""
    WORK = "work"
    """Its task has been made, and has brought no change yet."""
    CHANGE = "change"
    """There are commits to be looked at."""


class ChangeKind(StrEnum):
    """What happened to a file."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    COPIED = "copied"
    TYPE_CHANGED = "type_changed"


class FailureHandling(StrEnum):
    """What follows from a failure."""

    RETRY = "retry"
    """Another attempt, after a pause that grows."""
    DELAY = "delay"
    """Another attempt when a limit is lifted; it costs no retry."""
    STOP = "stop"
    """The same would fail again: the task has failed."""
    WAIT = "wait"
    """A person must put something right first: the task is blocked, with the reason."""
    ANSWER = "answer"
    """Another attempt when the run's question has been answered; it costs no retry."""


class FailureClass(StrEnum):
    """Why an attempt did not succeed; the class decides what follows."""

    # The work itself
    SETUP_FAILED = "setup_failed"
    COMMAND_FAILED = "command_failed"
    TESTS_FAILED = "tests_failed"
    TOOL_FAILED = "tool_failed"
    CONTEXT_OVERFLOW = "context_overflow"
    PERMISSION_DENIED = "permission_denied"
    WAITING_FOR_ANSWER = "waiting_for_answer"
    QUESTION_EXPIRED = "question_expired"
    # The runtime and its provider
    AUTH_FAILED = "auth_failed"
    MODEL_INVALID = "model_invalid"
    QUOTA_EXHAUSTED = "quota_exhausted"
    RATE_LIMITED = "rate_limited"
    BUDGET_EXHAUSTED = "budget_exhausted"
    RESUME_REFUSED = "resume_refused"
    NETWORK_FAILED = "network_failed"
    CRASHED = "crashed"
    # Watchdogs and limits
    TIMEOUT = "timeout"
    START_UP_TIMEOUT = "start_up_timeout"
    FIRST_EVENT_TIMEOUT = "first_event_timeout"
    SILENCE_TIMEOUT = "silence_timeout"
    AFTER_RESULT_TIMEOUT = "after_result_timeout"
    LIMIT_EXCEEDED = "limit_exceeded"
    # The worker and its machine
    LEASE_LOST = "lease_lost"
    WORKER_STOPPED = "worker_stopped"
    WORKER_ERROR = "worker_error"
    RUNTIME_UNAVAILABLE = "runtime_unavailable"
    SANDBOX_UNAVAILABLE = "sandbox_unavailable"
    # The order
    REPOSITORY_UNAVAILABLE = "repository_unavailable"
    REPOSITORY_UNSUPPORTED = "repository_unsupported"
    BRANCH_NOT_FOUND = "branch_not_found"
    ORDER_INVALID = "order_invalid"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def handling(self) -> FailureHandling:
        """What follows from it."""
        return _MEANS[self][0]

    @property
    def meaning(self) -> str:
        """What has happened, in one sentence."""
        return _MEANS[self][1]


_MEANS: dict[FailureClass, tuple[FailureHandling, str]] = {
    FailureClass.SETUP_FAILED: (
        FailureHandling.RETRY,
        "The repository's set-up command failed, or took too long: nothing else was run.",
    ),
    FailureClass.COMMAND_FAILED: (
        FailureHandling.STOP,
        "The command ended with an exit code other than 0.",
    ),
    FailureClass.TESTS_FAILED: (
        FailureHandling.STOP,
        "The project's tests did not pass on the change.",
    ),
    FailureClass.TOOL_FAILED: (
        FailureHandling.RETRY,
        "A tool of the agent's, or an MCP server, failed.",
    ),
    FailureClass.CONTEXT_OVERFLOW: (
        FailureHandling.STOP,
        "The conversation no longer fits into the model: make the task smaller.",
    ),
    FailureClass.PERMISSION_DENIED: (
        FailureHandling.WAIT,
        "The agent was refused something it needs: allow it, or change the task.",
    ),
    FailureClass.WAITING_FOR_ANSWER: (
        FailureHandling.ANSWER,
        "The run asked something, and ended until the answer is there.",
    ),
    FailureClass.QUESTION_EXPIRED: (
        FailureHandling.WAIT,
        "Nobody answered the run's question in time.",
    ),
    FailureClass.AUTH_FAILED: (
        FailureHandling.WAIT,
        "The provider does not know the key or login: renew it.",
    ),
    FailureClass.MODEL_INVALID: (
        FailureHandling.WAIT,
        "The provider has no such model, or not for this account.",
    ),
    FailureClass.QUOTA_EXHAUSTED: (
        FailureHandling.DELAY,
        "The account's quota is used up until the time the provider told.",
    ),
    FailureClass.RATE_LIMITED: (
        FailureHandling.DELAY,
        "The provider takes no more requests until the time it told.",
    ),
    FailureClass.BUDGET_EXHAUSTED: (
        FailureHandling.WAIT,
        "The budget that this run may spend is used up: raise it.",
    ),
    FailureClass.RESUME_REFUSED: (
        FailureHandling.RETRY,
        "The runtime could not go on with its earlier session; the next attempt begins anew.",
    ),
    FailureClass.NETWORK_FAILED: (
        FailureHandling.RETRY,
        "The provider could not be reached, or answered with an error of its own.",
    ),
    FailureClass.CRASHED: (
        FailureHandling.RETRY,
        "The runtime's program broke off in the middle.",
    ),
    FailureClass.TIMEOUT: (
        FailureHandling.STOP,
        "The time limit of the task, or of its tests, was reached.",
    ),
    FailureClass.START_UP_TIMEOUT: (
        FailureHandling.RETRY,
        "The program printed nothing at all.",
    ),
    FailureClass.FIRST_EVENT_TIMEOUT: (
        FailureHandling.RETRY,
        "The runtime saw no event in what the program printed.",
    ),
    FailureClass.SILENCE_TIMEOUT: (
        FailureHandling.RETRY,
        "The program had begun, and fell silent.",
    ),
    FailureClass.AFTER_RESULT_TIMEOUT: (
        FailureHandling.RETRY,
        "The program had told its result, and did not end.",
    ),
    FailureClass.LIMIT_EXCEEDED: (
        FailureHandling.STOP,
        "The run was about to use more memory, processes, time or disk than it may.",
    ),
    FailureClass.LEASE_LOST: (
        FailureHandling.RETRY,
        "The worker could not keep its claim: it died, or lost the server.",
    ),
    FailureClass.WORKER_STOPPED: (
        FailureHandling.RETRY,
        "The worker was stopped before the run was done.",
    ),
    FailureClass.WORKER_ERROR: (
        FailureHandling.RETRY,
        "The worker itself failed.",
    ),
    FailureClass.RUNTIME_UNAVAILABLE: (
        FailureHandling.RETRY,
        "The runtime is not installed on the worker that took the order.",
    ),
    FailureClass.SANDBOX_UNAVAILABLE: (
        FailureHandling.RETRY,
        "The worker cannot make the sandbox asked for, and takes nothing weaker.",
    ),
    FailureClass.REPOSITORY_UNAVAILABLE: (
        FailureHandling.RETRY,
        "The repository could not be fetched.",
    ),
    FailureClass.REPOSITORY_UNSUPPORTED: (
        FailureHandling.WAIT,
        "The repository has submodules or files of git-lfs: allow work without them.",
    ),
    FailureClass.BRANCH_NOT_FOUND: (
        FailureHandling.STOP,
        "The target branch does not exist.",
    ),
    FailureClass.ORDER_INVALID: (
        FailureHandling.STOP,
        "The order lacks something, or what it asks for cannot be.",
    ),
    FailureClass.CANCELLED: (
        FailureHandling.STOP,
        "A person cancelled it.",
    ),
    FailureClass.EXPIRED: (
        FailureHandling.STOP,
        "The order was too late before anybody took it.",
    ),
}


class BudgetScope(StrEnum):
    """What a budget limits."""

    GLOBAL = "global"
    PROJECT = "project"
    AGENT = "agent"
    AGENT_TYPE = "agent_type"


class BudgetPeriod(StrEnum):
    """How often a budget starts anew."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


class BudgetAction(StrEnum):
    """What happens when a budget would be passed."""

    WARN = "warn"
    BLOCK = "block"


class ProviderKind(StrEnum):
    """Whose language a provider of models speaks."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    OPENAI_COMPATIBLE = "openai_compatible"
    GEMINI = "gemini"


class ModelWire(StrEnum):
    """The language in which a model is asked; nothing is translated from one into another."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    GEMINI = "gemini"


class AgentType(StrEnum):
    """The roles of a team."""

    ORCHESTRATOR = "orchestrator"
    ARCHITECT = "architect"
    CODER = "coder"
    TESTER = "tester"
    REVIEWER = "reviewer"
