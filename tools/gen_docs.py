"""``python -m tools.gen_docs``: writes every page of docs/reference that comes from the code."""

import sys

from tools import (
    gen_cli_doc,
    gen_errors_doc,
    gen_openapi,
    gen_schema_doc,
    gen_settings_doc,
    gen_states_doc,
    gen_tools_doc,
)
from tools.pages import write_all

PAGES = (
    gen_cli_doc.PAGE,
    gen_errors_doc.PAGE,
    gen_openapi.PAGE,
    gen_schema_doc.PAGE,
    gen_settings_doc.PAGE,
    gen_states_doc.PAGE,
    gen_tools_doc.PAGE,
)

if __name__ == "__main__":
    sys.exit(write_all(PAGES, tool="tools.gen_docs"))
