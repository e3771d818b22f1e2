"""What was found of runtimes on this machine, as it is told to the server and to people."""

from agentvine.protocol.workers import RuntimeReport
from agentvine.runtimes.base import RuntimeInfo
from agentvine.runtimes.registry import builtin_runtimes, detect_runtimes


def report_on(info: RuntimeInfo) -> RuntimeReport:
    """One runtime; long texts are cut to what the server takes."""
    return RuntimeReport(
        name=info.name,
        is_available=info.is_available,
        problem=info.problem[:2000] if info.problem else None,
        version=info.version[:100] if info.version else None,
        pinned_version=info.pinned_version,
        install=info.install,
        login=info.login.value,
        login_help=info.login_help,
        uses_models=info.uses_models,
    )


async def find_runtimes() -> list[RuntimeReport]:
    """All that comes with AgentVine, whether it works here or not, by name."""
    return [report_on(info) for info in await detect_runtimes(builtin_runtimes())]
