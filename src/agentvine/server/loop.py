"""The event loop that servers run on: the fast one, where there is one."""

import sys

if sys.platform == "win32":
    from asyncio import run as run_server
else:
    from uvloop import run as run_server

__all__ = ["run_server"]
