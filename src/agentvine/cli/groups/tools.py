"""``agentvine mcp``."""

import click

from agentvine.cli.lazy import runs


@click.command("mcp")
@runs("agentvine.cli.actions.tools:serve_stdio")
def mcp() -> None:
    """Serve AgentVine's tools to your own assistant, over stdin and stdout (MCP).

    Made to be started by an assistant's program, with your sign-in: the assistant may do what you
    may. An assistant that speaks streamable HTTP needs no program: give it the server's address
    with /mcp, and a token of yours.
    """
