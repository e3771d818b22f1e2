"""The lock writer's own decisions; uv's resolution needs a network and is not tested here."""

import tomllib

import pytest

from tools import lock

PROJECT = '[build-system]\nrequires = ["hatchling"]\n'


def test_a_marker_stays_only_where_a_name_has_several_versions():
    exported = (
        "cffi==2.1.1 ; platform_python_implementation != 'PyPy'\n"
        "numpy==2.2 ; python_version < '3.11'\n"
        'numpy==2.4 ; python_version >= "3.11"\n'
    )

    assert lock.pin_lines(exported) == (
        "cffi==2.1.1",
        "numpy==2.2 ; python_version < '3.11'",
        "numpy==2.4 ; python_version >= '3.11'",
    )


def test_what_is_rendered_is_read_back_and_leaves_the_rest_of_the_file_alone():
    pins = lock.Pins(("click==8.5.1", "numpy==2.2 ; python_version < '3.11'"), ("hatchling==1.33",))
    bare, none = lock.split_pins(PROJECT)

    whole = bare + lock.render_pins(pins)

    assert none == lock.Pins((), ())
    assert lock.split_pins(whole) == (bare, pins)
    assert lock.split_pins(bare + lock.render_pins(pins))[0].startswith(PROJECT)
    assert tomllib.loads(whole)["tool"]["uv"]["constraint-dependencies"] == list(pins.install)


def test_an_upgraded_distribution_loses_its_pin_however_its_name_is_spelled():
    pins = lock.Pins(("pydantic-core==2.50", "click==8.5"), ("click==8.5", "pluggy==1.7"))

    kept = lock.drop(pins, [lock.normalise("Pydantic_Core"), "pluggy"])

    assert kept == lock.Pins(("click==8.5",), ("click==8.5",))


def test_a_distribution_from_a_folder_of_this_machine_is_refused():
    package = '[[package]]\nname = "click"\nsource = { %s }\n'

    lock.refuse_local_sources(package % 'registry = "https://example.com/simple"')
    lock.refuse_local_sources(package % 'editable = "."')
    for source in ('registry = "../index"', 'path = "click.whl"', 'directory = "click"'):
        with pytest.raises(lock.LockError, match="click came from"):
            lock.refuse_local_sources(package % source)
