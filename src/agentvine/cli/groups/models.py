"""``agentvine scripted-model``."""

from pathlib import Path

import click

from agentvine.cli.lazy import load


@click.command("scripted-model")
@click.option(
    "--script",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="What the model says, as docs/reference/scripts.md describes.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", default=0, show_default=True, help="0 takes a free one.")
def scripted_model(script: Path, host: str, port: int) -> None:
    """Serve a model that follows a script, in the place of a provider.

    It answers like Anthropic (Messages), OpenAI (Chat Completions, Responses) and Gemini: point an
    agent's base URL at it, with any key. The first line on stdout says where it listens;
    GET /_script/requests shows what it was asked and told, as JSON lines. Ctrl-C ends it.
    """
    load("agentvine.cli.actions.models:serve_script")(script, host, port)
