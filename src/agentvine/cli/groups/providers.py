"""``agentvine provider`` and ``agentvine model``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, yes_option
from agentvine.protocol.enums import ProviderKind

_ACTIONS = "agentvine.cli.actions.providers"

_key_file = click.option(
    "--key-file",
    type=click.File("r"),
    metavar="FILE",
    help="A file that holds the key, - for standard input; else it is asked for.",
)
_models = click.option(
    "--model",
    "models",
    multiple=True,
    metavar="MODEL",
    help="A model that it serves; * stands for anything. Can be repeated.  [default: any]",
)
_free = click.option("--free/--not-free", default=None, help="Whether its calls cost nothing.")


@click.group()
def provider() -> None:
    """Providers of models. A provider is called by its name or id."""


@provider.command("list")
@limit_option
@runs(f"{_ACTIONS}:list_providers")
def list_providers() -> None:
    """List the providers you may see, their keys, and what they wait for."""


@provider.command()
@click.argument("name", metavar="PROVIDER")
@project_option
@runs(f"{_ACTIONS}:show_provider")
def show() -> None:
    """Show a provider and its keys; of a key only its end."""


@provider.command()
@click.argument("name", metavar="NAME")
@click.option("--kind", type=Words(ProviderKind), required=True, help="Whose language it speaks.")
@click.option("--url", metavar="URL", help="Its address; for an OpenAI-like one with its /v1.")
@project_option
@_models
@_free
@_key_file
@click.option("--no-key", is_flag=True, help="It needs no key, like Ollama at home.")
@runs(f"{_ACTIONS}:add_provider")
def add() -> None:
    """Let models of a provider be called: in a project, or (an admin) in all of them."""


@provider.command()
@click.argument("name", metavar="PROVIDER")
@project_option
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@click.option("--url", metavar="URL", help="Another address; only while it has no key.")
@_models
@click.option("--any-model", is_flag=True, help="It serves whatever is asked.")
@_free
@click.option("--active/--inactive", default=None, help="Whether it is asked at all.")
@runs(f"{_ACTIONS}:edit_provider")
def edit() -> None:
    """Change a provider; what is not named stays."""


@provider.command()
@click.argument("name", metavar="PROVIDER")
@project_option
@yes_option
@runs(f"{_ACTIONS}:remove_provider")
def remove() -> None:
    """Forget a provider and its keys."""


@provider.command()
@click.argument("name", metavar="PROVIDER")
@project_option
@click.option("--key", metavar="KEY", help="Which key to try: its name, end or id.")
@runs(f"{_ACTIONS}:test_provider")
def test() -> None:
    """Have the server ask a provider for its models."""


@provider.group()
def key() -> None:
    """Keys of a provider; several are used in turn. A key is called by its name, end or id."""


@key.command("add")
@click.argument("name", metavar="PROVIDER")
@project_option
@click.option("--name", "key_name", default="", metavar="NAME", help="What to call the key.")
@_key_file
@runs(f"{_ACTIONS}:add_key")
def add_key() -> None:
    """Give a provider a key more."""


@key.command("replace")
@click.argument("name", metavar="PROVIDER")
@click.argument("key", metavar="[KEY]", required=False)
@project_option
@_key_file
@runs(f"{_ACTIONS}:replace_key")
def replace_key() -> None:
    """Put another key in the place of one."""


@key.command("disable")
@click.argument("name", metavar="PROVIDER")
@click.argument("key", metavar="[KEY]", required=False)
@project_option
@runs(f"{_ACTIONS}:disable_key")
def disable_key() -> None:
    """Use a key no more, and keep it."""


@key.command("enable")
@click.argument("name", metavar="PROVIDER")
@click.argument("key", metavar="[KEY]", required=False)
@project_option
@runs(f"{_ACTIONS}:enable_key")
def enable_key() -> None:
    """Use a key again."""


@key.command("remove")
@click.argument("name", metavar="PROVIDER")
@click.argument("key", metavar="[KEY]", required=False)
@project_option
@yes_option
@runs(f"{_ACTIONS}:remove_key")
def remove_key() -> None:
    """Forget a key."""


@click.group()
def model() -> None:
    """Models: which may be used, by which names, and who serves them."""


@model.command("list")
@project_option
@runs(f"{_ACTIONS}:list_models")
def list_models() -> None:
    """List the models that may be used; `agentvine provider test` finds out what there is."""


@model.command()
@click.argument("names", metavar="MODEL...", nargs=-1)
@project_option
@click.option("--any", "any_model", is_flag=True, help="Allow all of them again.")
@runs(f"{_ACTIONS}:allow_models")
def allow() -> None:
    """Let only these models be used, in a project or (an admin) anywhere."""


@model.command()
@click.argument("name", metavar="NAME")
@click.argument("target", metavar="[MODEL]", required=False)
@project_option
@runs(f"{_ACTIONS}:set_alias")
def alias() -> None:
    """Let a name mean a model; without a model it means nothing any more."""


@model.command("default")
@click.argument("name", metavar="[MODEL]", required=False)
@project_option
@runs(f"{_ACTIONS}:set_default")
def default_model() -> None:
    """Say which model is asked where nobody names one; without a model, none."""
