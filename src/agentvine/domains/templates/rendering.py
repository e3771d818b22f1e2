"""Templates and values to files: nothing is read but the arguments, and nothing is written."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any

from pydantic import StringConstraints, TypeAdapter, ValidationError
from pydantic_core import SchemaError

from agentvine.domains.templates.errors import (
    TemplatePathInvalid,
    TemplateValueInvalid,
    TemplateVariableInvalid,
    TemplateVariableMissing,
    TemplateVariableUnknown,
)
from agentvine.domains.templates.language import Language
from agentvine.kit.inner_paths import why_not_inside
from agentvine.protocol.templates import (
    MAX_VALUE,
    RenderedFileOut,
    TemplateDefinition,
    TemplateEncoding,
    TemplateFile,
    TemplateVariable,
)


def check(template: TemplateDefinition) -> None:
    """See that a template can be rendered, by whoever gives good values.

    Raises:
        TemplateInvalid: A file, or a path, is not written well; with its file and line.
        TemplateVariableInvalid: A default or a pattern is wrong.
        TemplatePathInvalid: A path leads out of the project, whatever the values are.
        TemplateTooLarge: There are too many tags.
    """
    known: list[str] = []
    for variable in template.variables:
        _check_variable(variable, known)
        known.append(variable.name)
    language = Language(known)
    for path, file in template.files.items():
        language.check(path, path)
        if "{" not in path:
            _check_path(path)
        if _has_placeholders(file):
            language.check(file.content, path)


def fill_in(variables: Sequence[TemplateVariable], given: Mapping[str, str]) -> dict[str, str]:
    """The values of all variables.

    Raises:
        TemplateVariableUnknown: A value is given for a variable that there is not.
        TemplateVariableMissing: A value is not given, and there is no default.
        TemplateValueInvalid: A value does not match its variable's pattern, or is no line of text.
    """
    names = [variable.name for variable in variables]
    if unknown := sorted(set(given) - set(names)):
        known = ", ".join(names) or "no variables"
        raise TemplateVariableUnknown(
            f"{', '.join(unknown)}: this template has {known}.", variables=unknown
        )
    missing = [each for each in variables if each.is_required and each.name not in given]
    if missing:
        told = ", ".join(_told(variable) for variable in missing)
        raise TemplateVariableMissing(
            f"Give a value for {told}.", variables=[variable.name for variable in missing]
        )
    values: dict[str, str] = {}
    for variable in variables:
        value = given.get(variable.name)
        values[variable.name] = _default(variable, values) if value is None else value
        _check_value(variable, values[variable.name])
    return values


def render(template: TemplateDefinition, values: Mapping[str, str]) -> list[RenderedFileOut]:
    """The files of a project, by path; a file whose path comes out empty is left out.

    Args:
        template: One that ``check`` has nothing against.
        values: Of all variables, as ``fill_in`` gives them.

    Raises:
        TemplatePathInvalid: A path leads out of the project, or two are the same.
        TemplateInvalid: A file is not written well.
        TemplateTooLarge: The files become too large, or take too long.
    """
    language = Language(values)
    made: dict[str, RenderedFileOut] = {}
    for template_path, file in sorted(template.files.items()):
        path = language.render(template_path, values, template_path)
        if not path:
            continue
        _check_path(path)
        _check_place(path, made)
        content = file.content
        if _has_placeholders(file):
            content = language.render(content, values, template_path)
        else:
            language.take(len(content), template_path)
        made[path.casefold()] = RenderedFileOut(
            path=path, content=content, encoding=file.encoding, executable=file.executable
        )
    return sorted(made.values(), key=lambda each: each.path)


def _has_placeholders(file: TemplateFile) -> bool:
    return file.encoding is TemplateEncoding.TEXT and not file.verbatim


def _check_variable(variable: TemplateVariable, before: Sequence[str]) -> None:
    place = f"the default of {variable.name}"
    if variable.pattern is not None:
        try:
            _matcher(variable.pattern)
        except SchemaError as error:
            raise TemplateVariableInvalid(
                f"The pattern of {variable.name} cannot be used: {str(error).splitlines()[-1]}.",
                variable=variable.name,
            ) from None
    if variable.default is None:
        return
    Language(before).check(variable.default, place)
    if "{" not in variable.default and not _matches(variable, variable.default):
        raise TemplateVariableInvalid(
            f"{place} does not match its own pattern {variable.pattern}.", variable=variable.name
        )


def _default(variable: TemplateVariable, values: Mapping[str, str]) -> str:
    place = f"the default of {variable.name}"
    return Language(values).render(variable.default or "", values, place)


def _check_value(variable: TemplateVariable, value: str) -> None:
    name = variable.name
    if len(value) > MAX_VALUE or any(char < " " or char == "\x7f" for char in value):
        raise TemplateValueInvalid(
            f"{name} is one line of at most {MAX_VALUE} characters.", variable=name
        )
    if not _matches(variable, value):
        about = f" ({variable.description})" if variable.description else ""
        raise TemplateValueInvalid(
            f"{name}{about} cannot be {value[:60]!r}: it is to match {variable.pattern}.",
            variable=name,
            pattern=variable.pattern,
        )


def _matches(variable: TemplateVariable, value: str) -> bool:
    if variable.pattern is None:
        return True
    try:
        _matcher(variable.pattern).validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> TypeAdapter[Any]:
    # Pydantic's own engine takes time in proportion to the text, whatever the pattern is; Python's
    # can take for ever.
    whole = StringConstraints(pattern=rf"\A(?:{pattern})\z")
    return TypeAdapter(Annotated[str, whole])


def _check_path(path: str) -> None:
    if (why := why_not_inside(path)) is not None:
        raise TemplatePathInvalid(f"{path!r} {why}.", file=path)


def _check_place(path: str, made: Mapping[str, RenderedFileOut]) -> None:
    """See that no other file is there, or would have to be a folder; on any system."""
    key = path.casefold()
    folders = [key[:place] for place, char in enumerate(key) if char == "/"]
    for taken in (key, *folders):
        if taken in made:
            raise TemplatePathInvalid(
                f"{path} and {made[taken].path} exclude each other.", file=path
            )
    if any(other.startswith(f"{key}/") for other in made):
        raise TemplatePathInvalid(f"{path} would be a file and a folder.", file=path)


def _told(variable: TemplateVariable) -> str:
    return f"{variable.name} ({variable.description})" if variable.description else variable.name
