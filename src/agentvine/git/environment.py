"""The environment and the settings of every git command: nothing runs that a repository names.

A repository can name programs in its configuration, its hooks and its attributes, and git has
many places that run them. A repository we are given, and one in which an agent has worked, may be
hostile or just odd. So git reads no configuration of the machine or the user, and these settings,
which travel in the environment, outrank what the repository's own configuration says. Where that
is not enough, because the names of the settings are free (filters, merge drivers), ``clean_room``
in ``places.py`` keeps git from reading the repository's configuration at all.
"""

from collections.abc import Iterable, Mapping

DEFAULT_PATH = "/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin"
AUTHOR_NAME = "AgentVine"
AUTHOR_EMAIL = "agentvine@localhost"

_ENVIRONMENT = {
    "LC_ALL": "C",  # messages that can be recognised
    "PATH": DEFAULT_PATH,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    # Nobody is there to answer: fail at once instead of waiting.
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",  # outranks core.askPass, which names a program
    "SSH_ASKPASS": "",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",  # outranks core.sshCommand, which names a program
    "GIT_EDITOR": ":",
    "GIT_PAGER": "cat",
    # No ext:: (runs a program), no git:// and http:// (anybody on the way can change them).
    "GIT_ALLOW_PROTOCOL": "file:https:ssh",
    # A partial clone would fetch what is missing from wherever, and however, its config says.
    "GIT_NO_LAZY_FETCH": "1",
    # refs/replace would let a repository show us other contents than it stores.
    "GIT_NO_REPLACE_OBJECTS": "1",
    # A file may be called ':(top)*': no name is a pattern.
    "GIT_LITERAL_PATHSPECS": "1",
    # New repositories are made in the format that every git since 2.38 can read.
    "GIT_DEFAULT_HASH": "sha1",
    "GIT_DEFAULT_REF_FORMAT": "files",
}

_SETTINGS = (
    ("core.hooksPath", "/dev/null"),  # no hook of any kind
    ("core.fsmonitor", "false"),  # may name a program, asked at every look at a work tree
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.alternateRefsCommand", "true"),  # names a program that a fetch runs
    ("core.quotePath", "false"),  # names in diffs as they are
    ("credential.helper", ""),  # forgets all helpers named so far: they are programs
    ("protocol.ext.allow", "never"),
    ("author.name", AUTHOR_NAME),
    ("author.email", AUTHOR_EMAIL),
    ("committer.name", AUTHOR_NAME),
    ("committer.email", AUTHOR_EMAIL),
    # Signing runs gpg.program, as does showing or checking a signature.
    ("commit.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("merge.verifySignatures", "false"),
    # Submodules are repositories of their own: never entered, so their settings never matter.
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
    ("diff.ignoreSubmodules", "dirty"),
    # Housekeeping detaches from its command and would outlive us.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.writeCommitGraph", "false"),
)

FOR_REMOTES = (
    "SSH_AUTH_SOCK",
    "GIT_SSH_COMMAND",
    "GIT_SSL_CAINFO",
    "SSL_CERT_FILE",
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What of the owner's environment servers and workers hand to git, beside PATH and HOME: which ssh,
proxies and authorities it uses to reach other repositories."""

_CHOSEN_BY_THE_OWNER = frozenset({"PATH", "GIT_SSH_COMMAND", "GIT_SSL_CAINFO"})
"""What may be named again: the owner of the machine decides which ssh and which authorities."""


def git_environment(
    given: Mapping[str, str], settings: Iterable[tuple[str, str]]
) -> dict[str, str]:
    """All of a git command's environment.

    Args:
        given: What the machine's owner lets git see: PATH, HOME and SSH_AUTH_SOCK for ssh,
            proxies. It cannot weaken what is set here.
        settings: More settings, stronger than ours and than the repository's.
    """
    pairs = [*_SETTINGS, *settings]
    environment = {**_ENVIRONMENT, **_allowed(given), "GIT_CONFIG_COUNT": str(len(pairs))}
    for number, (key, value) in enumerate(pairs):
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
    return environment


def _allowed(given: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in given.items()
        if name in _CHOSEN_BY_THE_OWNER
        or (not name.startswith("GIT_") and name not in _ENVIRONMENT)
    } | _authorities(given)


def _authorities(given: Mapping[str, str]) -> dict[str, str]:
    # What all other programs take from SSL_CERT_FILE, git takes from a variable of its own.
    if "SSL_CERT_FILE" not in given or "GIT_SSL_CAINFO" in given:
        return {}
    return {"GIT_SSL_CAINFO": given["SSL_CERT_FILE"]}
