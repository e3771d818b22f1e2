"""Rendering: what comes out, and that nothing hostile does, nor takes for ever."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from pydantic import ValidationError

from agentvine.domains.templates import rendering
from agentvine.domains.templates.errors import (
    TemplateInvalid,
    TemplatePathInvalid,
    TemplateTooLarge,
    TemplateValueInvalid,
    TemplateVariableInvalid,
    TemplateVariableMissing,
    TemplateVariableUnknown,
)
from agentvine.kit.errors import AppError
from agentvine.protocol.templates import TemplateDefinition

NAME = ({"name": "name", "description": "what it is called"},)


def template(files: Mapping[str, Any], variables: Sequence[Any] = NAME) -> TemplateDefinition:
    said = {"name": "x", "category": "api", "variables": list(variables), "files": dict(files)}
    return TemplateDefinition.model_validate(said)


def made(files: Mapping[str, Any], variables: Sequence[Any] = NAME, **given: str) -> dict[str, str]:
    """The contents of the files that a template makes, by path."""
    wanted = template(files, variables)
    rendering.check(wanted)
    values = rendering.fill_in(wanted.variables, given)
    return {file.path: file.content for file in rendering.render(wanted, values)}


def test_placeholders_in_paths_and_contents_are_filled_in():
    files = {
        "src/{{ name | snake }}/app.py": "class {{ name | pascal }}: pass  # {{ name | quote }}\n",
        "{{ name | kebab }}.txt": "{{ name | upper }} {{ name | replace('Bean', 'Pea') | lower }}",
    }
    assert made(files, name='Bean "Counter"') == {
        "src/bean_counter/app.py": 'class BeanCounter: pass  # "Bean \\"Counter\\""\n',
        "bean-counter.txt": 'BEAN "COUNTER" pea "counter"',
    }


def test_conditions_and_loops_leave_no_lines_behind_and_line_ends_stay():
    text = "a\r\n{% if name == 'x' %}\r\nb\r\n{% endif %}\r\n"
    loop = (
        "{% for each in name | split %}\n- {{ each }}{% if loop.last %}.{% endif %}\n\n{% endfor %}"
    )
    assert made({"a": text}, name="x") == {"a": "a\r\nb\r\n"}
    assert made({"a": text}, name="y") == {"a": "a\r\n"}
    assert made({"a": loop}, name="one, two") == {"a": "- one\n- two.\n"}


def test_a_file_whose_path_comes_out_empty_is_left_out():
    files = {"{% if name == 'yes' %}Dockerfile{% endif %}": "FROM x", "a": ""}
    assert sorted(made(files, name="yes")) == ["Dockerfile", "a"]
    assert sorted(made(files, name="no")) == ["a"]


def test_binary_and_verbatim_files_stay_as_they_are():
    files = {
        "logo.png": {"content": "AP8=", "encoding": "base64"},
        "page.html": {"content": "{{ theirs }}\r{% x", "verbatim": True, "executable": True},
    }
    wanted = template(files)
    rendering.check(wanted)
    out = {file.path: file for file in rendering.render(wanted, {"name": "n"})}
    assert (out["logo.png"].content, out["logo.png"].encoding.value) == ("AP8=", "base64")
    assert out["page.html"].content == "{{ theirs }}\r{% x"
    assert (out["page.html"].executable, out["logo.png"].executable) == (True, False)


def test_defaults_may_use_the_variables_before_them():
    variables = (*NAME, {"name": "package", "default": "{{ name | snake }}"})
    files = {"a": "{{ package }}"}
    assert made(files, variables, name="My App") == {"a": "my_app"}
    assert made(files, variables, name="My App", package="mine") == {"a": "mine"}
    with pytest.raises(TemplateInvalid, match="the default of package, line 1"):
        rendering.check(template(files, variables[::-1]))


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, TemplateVariableMissing, r"name \(what it is called\)"),
        ({"name": "a", "nmae": "b"}, TemplateVariableUnknown, "nmae: this template has name"),
        ({"name": "Ab"}, TemplateValueInvalid, r"cannot be 'Ab': it is to match \[a-z\]\+"),
        ({"name": "ab\n"}, TemplateValueInvalid, "one line"),
        ({"name": "a" * 1001}, TemplateValueInvalid, "at most 1000"),
    ],
)
def test_values_that_do_not_fit_are_named(given: dict[str, str], error: type[AppError], said: str):
    variables = ({**NAME[0], "pattern": "[a-z]+"},)
    with pytest.raises(error, match=said):
        made({"a": "{{ name }}"}, variables, **given)


def test_a_pattern_takes_no_longer_for_any_value():
    variables = ({"name": "name", "pattern": "(a+)+$"},)
    with pytest.raises(TemplateValueInvalid):
        made({"a": ""}, variables, name="a" * 900 + "b")


@pytest.mark.parametrize(
    "variable",
    [
        {"name": "name", "pattern": "(?=x)"},
        {"name": "name", "pattern": "("},
        {"name": "name", "pattern": "[a-z]", "default": "A"},
    ],
)
def test_a_variable_that_is_not_well_defined_is_refused(variable: dict[str, str]):
    with pytest.raises(TemplateVariableInvalid, match="name"):
        rendering.check(template({"a": ""}, [variable]))


@pytest.mark.parametrize("name", ["self", "loop", "true", "Name", "1st", ""])
def test_a_variable_cannot_be_called_anything(name: str):
    with pytest.raises(ValidationError):
        template({"a": ""}, [{"name": name}])


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("\n\n{{ nope }}", 3, "there is no variable 'nope'; there are: name"),
        ("\n{% if name %}\n", 2, "endif"),
        ("{{ name", 1, "unexpected end of template"),
        ("{{ name | shell }}", 1, "there is no filter 'shell'"),
        ("{{ name | upper(1) }}", 1, "does not take 1 arguments"),
        ("{{ range(10**9) }}", 1, "functions cannot be called"),
        ("a\n{% for each in range(10**9) %}{% endfor %}", 2, "a loop goes over a list"),
        ("{% for each in name %}{% endfor %}", 1, "a loop goes over a list"),
        ("{% for each in name | split recursive %}{% endfor %}", 1, "recursive"),
        ("{% for each in name | split %}{% endfor %}{{ each }}", 1, "no variable 'each'"),
        ("{{ loop.first }}", 1, "no variable 'loop'"),
        ("{{ 'a' * 1000000000 }}", 1, "Mul cannot be used"),
        ("{{ name ~ name }}", 1, "Concat cannot be used"),
        ("{{ name + name }}", 1, "Add cannot be used"),
        ("{{ 9 ** 9 ** 9 }}", 1, "Pow cannot be used"),
        ("{% set a = name %}", 1, "Assign cannot be used"),
        ("{% macro a() %}{% endmacro %}", 1, "Macro cannot be used"),
        ("{% filter upper %}{% endfilter %}", 1, "FilterBlock cannot be used"),
        ("{% include '/etc/passwd' %}", 1, "Include cannot be used"),
        ("{% extends 'x' %}", 1, "Extends cannot be used"),
        ("{{ name.__class__ }}", 1, "Getattr cannot be used"),
        ("{{ name['__class__'] }}", 1, "Getitem cannot be used"),
        ("{{ name.join }}", 1, "Getattr cannot be used"),
        ("{{ self }}", 1, "no variable 'self'"),
        ("{{ name > 1 }}", 1, "compare by"),
        ("{{ name is defined }}", 1, "Test cannot be used|No test"),
        ("{{ name" + " | quote" * 60 + " }}", 1, "a tag is too long"),
        ("{% if name %}" * 1500 + "{% endif %}" * 1500, 1, "nested too deeply"),
        ("{% for a in name | split %}" * 30 + "{% endfor %}" * 30, 1, "nested too deeply"),
    ],
)
def test_what_is_wrong_or_hostile_is_refused_with_its_file_and_line(
    text: str, line: int, said: str
):
    with pytest.raises(TemplateInvalid, match=said) as refused:
        rendering.check(template({"src/a.txt": text}))
    assert refused.value.extra == {"file": "src/a.txt", "line": line}


OUTSIDE_OF_ITS_LOOP = "{% for a in name | split %}{% else %}{{ loop.first }}{% endfor %}"


@pytest.mark.parametrize("text", ["{{ 1 in name }}", OUTSIDE_OF_ITS_LOOP])
def test_what_only_a_value_shows_to_be_wrong_names_its_file(text: str):
    with pytest.raises(TemplateInvalid, match=r"a\.txt"):
        made({"a.txt": text}, name=",")


LOOP = "{% for x in name | split %}"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": LOOP * 4 + "{% endfor %}" * 4}, "loops go round more than"),
        ({"a": LOOP + "x" * 50_000 + "{% endfor %}"}, "more than 4000000 characters"),
        ({"a": "{{ name" + " | quote" * 12 + " }}"}, "a filter makes too much"),
        ({"a": "{{ name | replace(',', name) }}"}, "`replace` makes too much"),
        ({str(n): LOOP * 2 + "x{% endfor %}" * 2 for n in range(3)}, "loops go round"),
        ({"a": "{{ name }}" * 20_000}, "too many tags"),
    ],
)
def test_what_would_grow_or_go_on_without_end_is_stopped(files: dict[str, str], said: str):
    with pytest.raises(TemplateTooLarge, match=said):
        made(files, name='",' * 100)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("../a", "", "no file inside"),
        ("/etc/a", "", "no file inside"),
        ("a//b", "", "no file inside"),
        ("a/.git/config", "", "inside .git"),
        ("{{ name }}/a", "..", "no file inside"),
        ("{{ name }}", "/etc/passwd", "no file inside"),
        ("{{ name }}/config", ".Git. ", "inside .git"),
        ("{{ name }}/hooks/x", "GIT~1", "inside .git"),
        ("{{ name }}", "a\\b", "not every system"),
        ("{{ name }}", "a" * 300, "too long"),
        ("{{ name }}/x", "a", "exclude each other"),
        ("{{ name }}", "A", "exclude each other"),
        ("{{ name }}", "d", "a file and a folder|exclude each other"),
    ],
)
def test_a_path_that_leads_out_or_is_taken_is_refused_by_name(path: str, value: str, said: str):
    with pytest.raises(TemplatePathInvalid, match=said):
        made({path: "", "a": "", "d/e": ""}, name=value)
