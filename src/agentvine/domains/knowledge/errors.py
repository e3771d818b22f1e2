"""What can go wrong with documents."""

from agentvine.kit.errors import Forbidden, Invalid, LimitReached, NotFound


class DocumentNotFound(NotFound):
    """No such document."""

    code = "document_not_found"


class DocumentVersionNotFound(NotFound):
    """The document never had this version."""

    code = "document_version_not_found"


class DocumentForbidden(Forbidden):
    """This document is not yours to change."""

    code = "document_forbidden"


class DocumentMisplaced(Invalid):
    """The repository is not one of the project."""

    code = "document_misplaced"


class NothingToLookFor(Invalid):
    """The search has no word that could tell documents apart."""

    code = "nothing_to_look_for"


class DocumentRuleNotFound(NotFound):
    """No such rule."""

    code = "document_rule_not_found"


class TooManyDocumentRules(LimitReached):
    """The project has too many rules for documents."""

    code = "too_many_document_rules"
