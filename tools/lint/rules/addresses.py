"""No file names a package registry's address or a path of the machine it was written on.

A registry's address in a lock file or a script overrides the one that a user's own configuration
names, which may be the only one their network reaches. A path such as a build folder's or a fixed
name in the shared temporary folder exists on one machine, and on a shared one belongs to someone.
"""

import re
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_CUT = "~"  # stands in every name below, so that this file does not hold the name itself
HOSTS = tuple(
    host.replace(_CUT, "")
    for host in (
        "py~pi.org",
        "python~hosted.org",
        "npm~js.org",
        "npm~js.com",
        "yarn~pkg.com",
        "crates~.io",
        "ruby~gems.org",
        "deb.~debian.org",
        "archive.~ubuntu.com",
        "ana~conda.org",
        "proxy.~golang.org",
    )
)
_HOST = re.compile("|".join(re.escape(host) for host in HOSTS), re.IGNORECASE)
_OPTION = re.compile(r"^\s*(?:-i|-f|--(?:extra-)?index-url|--find-links)[ =]\S", re.MULTILINE)
_MACHINE_PATH = re.compile(
    r"""file:///(?:opt)/      # a folder used as an index
    | (?<![\w.}\])$*~-])/(?:  # an absolute path, not the tail of a longer one
        tmp/[\w.]             # a fixed name in the shared temporary folder
        | (?:work|root|farm)/[\w.] | opt/(?:pypi|wheels)
    )""",
    re.VERBOSE,
)


def check(source: SourceFile) -> Iterator[Finding]:
    """Lines that hold such an address."""
    for pattern, what in (
        (_HOST, "a package registry's address"),
        (_OPTION, "an index option"),
        (_MACHINE_PATH, "a path of one machine"),
    ):
        for match in pattern.finditer(source.text):
            line = source.text.count("\n", 0, match.start()) + 1
            yield Finding(line, f"names {what}: {match[0].strip()}")


RULE = Rule(
    code="AV016",
    title="no registry's address and no machine's path in any file",
    scope=Scope(include=("*",)),
    check=check,
    good=(
        Sample("requirements.lock", "click==8.5.1 \\\n    --hash=sha256:00\n"),
        Sample("README.md", "pip install uv && uv run pytest\n"),
        Sample("a.py", 'path = "src/agentvine/domains/work/store.py"\n'),
        Sample("a.py", 'url = "file://" + path\nroute = f"{api}/work/orders"\n'),
    ),
    bad=(
        Sample("pdm.lock", f'url = "https://{HOSTS[0]}/simple"\n'),
        Sample("uv.lock", f'url = "https://files.{HOSTS[1]}/packages/x.whl"\n'),
        Sample("requirements.lock", "--index-url https://example.com/simple\n"),
        Sample("requirements.lock", "--extra-index-url=https://example.com/simple\n"),
        Sample("a.toml", "links = 'file:~///opt/index'\n".replace(_CUT, "")),
        Sample("a.py", 'scratch = "/~tmp/agentvine"\n'.replace(_CUT, "")),
        Sample("docs/a.md", "cd /~work/main\n".replace(_CUT, "")),
    ),
)
