"""Drawing at a terminal; loaded only where there is one, because rich is slow to import."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

STATUS_STYLES = {
    "completed": "green",
    "applied": "green",
    "approved": "cyan",
    "idle": "green",
    "active": "green",
    "in_progress": "cyan",
    "running": "cyan",
    "testing": "cyan",
    "busy": "cyan",
    "claimed": "cyan",
    "review": "magenta",
    "queued": "blue",
    "pending": "blue",
    "blocked": "yellow",
    "cancelled": "yellow",
    "rejected": "yellow",
    "timeout": "red",
    "failed": "red",
    "error": "red",
    "offline": "red",
    "expired": "red",
}


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; ids are never broken."""
    table = Table(box=None, pad_edge=False, header_style="bold dim")
    for index, title in enumerate(titles):
        table.add_column(title.upper(), no_wrap=index == 0 or title in ("id", "status"))
    for row in rows:
        table.add_row(*(Text(cell, style=STATUS_STYLES.get(cell, "")) for cell in row))
    Console().print(table)


def print_diff(diff: str) -> None:
    """A diff in colours."""
    console = Console(highlight=False, soft_wrap=True)
    styles = (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red"))
    for line in diff.splitlines():
        style = next((style for mark, style in styles if line.startswith(mark)), "")
        console.print(Text(line, style=style))
