"""Errors of the tasks slice."""

from agentvine.kit.errors import Conflict, Invalid, NotFound


class TaskNotFound(NotFound):
    """There is no such task, or you may not see it."""

    code = "task_not_found"


class InvalidTransition(Conflict):
    """The task cannot go there from where it stands."""

    code = "task_transition_invalid"


class TaskAlreadyFinished(Conflict):
    """The task is finished already."""

    code = "task_already_finished"


class TaskNotRunnable(Invalid):
    """The task lacks something it needs to run."""

    code = "task_not_runnable"


class TaskRunning(Conflict):
    """The task is running or queued; its run cannot be changed now."""

    code = "task_running"


class DependencyCycle(Invalid):
    """The dependency would close a circle."""

    code = "dependency_cycle"


class DependencyExists(Conflict):
    """This dependency exists already."""

    code = "dependency_exists"


class DependencyNotFound(NotFound):
    """There is no such dependency."""

    code = "dependency_not_found"


class DependencyElsewhere(Invalid):
    """Tasks of different projects cannot depend on each other."""

    code = "dependency_elsewhere"


class ProjectMissing(Invalid):
    """The task needs a project or a repository."""

    code = "project_missing"
