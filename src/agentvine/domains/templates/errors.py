"""What can go wrong with templates."""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, NotFound


class TemplateNotFound(NotFound):
    """There is no such template, or you may not see it."""

    code = "template_not_found"


class TemplateForbidden(Forbidden):
    """This template is not yours to change."""

    code = "template_forbidden"


class TemplateBuiltIn(Conflict):
    """A built-in template cannot be changed."""

    code = "template_built_in"


class TemplateNameTaken(Conflict):
    """Another template has this name."""

    code = "template_name_taken"


class TemplateInvalid(Invalid):
    """A file of the template cannot be rendered."""

    code = "template_invalid"


class TemplateVariableInvalid(Invalid):
    """A variable of the template is not defined well."""

    code = "template_variable_invalid"


class TemplateVariableMissing(Invalid):
    """A variable must be given."""

    code = "template_variable_missing"


class TemplateVariableUnknown(Invalid):
    """The template has no such variable."""

    code = "template_variable_unknown"


class TemplateValueInvalid(Invalid):
    """A value is not what its variable takes."""

    code = "template_value_invalid"


class TemplatePathInvalid(Invalid):
    """A file of the template would not be a file of the new project."""

    code = "template_path_invalid"


class TemplateTooLarge(Invalid):
    """What the template makes is too much."""

    code = "template_too_large"
