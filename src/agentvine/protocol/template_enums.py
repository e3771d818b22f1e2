"""The words of templates; without Pydantic, so that the command line is quick with its help."""

from enum import StrEnum


class TemplateCategory(StrEnum):
    """What kind of project a template makes."""

    API = "api"
    WEB = "web"
    MOBILE = "mobile"
    DATA = "data"
    MICROSERVICE = "microservice"


class TemplateComplexity(StrEnum):
    """How much a template sets up."""

    SIMPLE = "simple"
    MEDIUM = "medium"
    COMPLEX = "complex"
