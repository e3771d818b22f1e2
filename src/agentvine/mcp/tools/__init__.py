"""All tools, in the order in which models are shown them. One more is a file and its line here."""

from agentvine.mcp.table import Toolbox
from agentvine.mcp.tools import (
    agent_desk,
    asking,
    backgrounds,
    change_desk,
    context_desk,
    costs,
    inbox,
    knowing,
    library,
    line_desk,
    own_task,
    plan_desk,
    planning,
    progress,
    sub_tasks,
    talk_desk,
    task_desk,
    team_desk,
    templates,
    used_models,
)

TOOLBOX = Toolbox(
    for_runs=(
        *asking.TOOLS,
        *progress.TOOLS,
        *own_task.TOOLS,
        *sub_tasks.TOOLS,
        *used_models.TOOLS,
        *knowing.TOOLS,
        *planning.TOOLS,
        *backgrounds.TOOLS,
    ),
    for_people=(
        *task_desk.TOOLS,
        *team_desk.TOOLS,
        *inbox.TOOLS,
        *change_desk.TOOLS,
        *line_desk.TOOLS,
        *costs.TOOLS,
        *templates.TOOLS,
        *plan_desk.TOOLS,
        *library.TOOLS,
        *agent_desk.TOOLS,
        *talk_desk.TOOLS,
        *context_desk.TOOLS,
    ),
)
