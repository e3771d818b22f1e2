"""What ``agentvine scripted-model`` does."""

import asyncio
from pathlib import Path

import click

from agentvine.llm.scripted.script import load_script
from agentvine.llm.scripted.serving import serving


def serve_script(script: Path, host: str, port: int) -> None:
    """Serve until told to stop."""
    loaded = load_script(script)

    async def serve() -> None:
        async with serving(loaded, host=host, port=port, handles_signals=True) as (_, url, task):
            click.echo(url)
            await task

    asyncio.run(serve())
