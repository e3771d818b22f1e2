"""``python -m tools.gen_openapi``: writes docs/reference/openapi.json, the contract of the API.

It is under version control so that a review sees every change of the contract.
"""

import json
import sys

from agentvine.config.settings import Settings
from agentvine.server.app import create_app
from tools.pages import Page


def render() -> str:
    """The document, as ``agentvine openapi`` prints it."""
    return json.dumps(create_app(Settings()).openapi(), indent=2) + "\n"


PAGE = Page("openapi.json", "tools.gen_openapi", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())
