"""The entry point: joins the command line with the server's and the worker's side."""

import sys

from agentvine.cli.failures import run
from agentvine.cli.parts import Parts

PARTS = Parts(
    worker_config="agentvine.worker:WorkerConfig",
    run_worker="agentvine.worker:run_worker",
    find_leftovers="agentvine.worker:find_leftovers",
    list_trees="agentvine.worker:list_trees",
    prune_trees="agentvine.worker:prune_trees",
    prune_set_ups="agentvine.worker:prune_set_ups",
    prune_mirrors="agentvine.worker:prune_mirrors",
    describe_isolation="agentvine.worker:describe_isolation",
    check_database="agentvine.server.commands:check_database",
    up="agentvine.server.up:up",
    serve_alone="agentvine.server.commands:serve_alone",
    serve_gateway="agentvine.server.commands:serve_gateway_alone",
    reset_login="agentvine.server.commands:reset_password",
    print_openapi="agentvine.server.commands:print_openapi",
)


def main() -> None:
    """Run ``agentvine`` with the arguments of this process."""
    sys.exit(run(sys.argv[1:], PARTS))


if __name__ == "__main__":
    main()
