"""What the command line needs of the server's and the worker's side, named without importing it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parts:
    """Objects above the command line, as ``package.module:name``; the entry point knows them."""

    worker_config: str = ""
    """A class that describes a worker."""
    run_worker: str = ""
    """``async (worker_config) -> int``: a worker's life."""
    find_leftovers: str = ""
    """What dead workers left below a data directory."""
    list_trees: str = ""
    """``async (data_dir)``: the work trees below a data directory."""
    prune_trees: str = ""
    """Removes old ones, and says so one by one."""
    prune_set_ups: str = ""
    """The same for what set-up commands have made."""
    prune_mirrors: str = ""
    """The same for mirrors, and for rescue refs in them."""
    describe_isolation: str = ""
    """``async () -> list[str]``: what holds runs here; containment, then sandbox."""
    check_database: str = ""
    """``async (settings) -> str``: reachable, and at the newest revision, or an error."""
    up: str = ""
    """A server with workers; takes the values of ``agentvine up``."""
    serve_alone: str = ""
    """A server; takes the values of ``agentvine server``."""
    serve_gateway: str = ""
    """A gateway; takes the values of ``agentvine gateway``."""
    reset_login: str = ""
    """Takes a user's name."""
    print_openapi: str = ""
    """Takes a file to write to."""
