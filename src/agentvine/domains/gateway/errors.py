"""What can go wrong with providers of models, and with their keys."""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable


class ProviderNotFound(NotFound):
    """No such provider of models."""

    code = "provider_not_found"


class ProviderForbidden(Forbidden):
    """This provider is not yours to change."""

    code = "provider_forbidden"


class ProviderExists(Conflict):
    """There is such a provider already."""

    code = "provider_exists"


class ProviderHasKeys(Conflict):
    """Keys are not sent to another address."""

    code = "provider_has_keys"


class ProviderOfEnvironment(Conflict):
    """This provider comes from the server's environment."""

    code = "provider_of_environment"


class ProviderAddressForbidden(Invalid):
    """The server does not call such an address."""

    code = "provider_address_forbidden"


class ProviderMissing(Unavailable):
    """No provider answers for this model."""

    code = "provider_missing"
    permanent = True


class CredentialNotFound(NotFound):
    """No such key."""

    code = "credential_not_found"


class CredentialExists(Conflict):
    """The provider has this key already."""

    code = "credential_exists"


class CredentialUnusable(Conflict):
    """There is no key to use."""

    code = "credential_unusable"


class ModelNotAllowed(Forbidden):
    """This model may not be used here."""

    code = "model_not_allowed"


class ModelMissing(Unavailable):
    """There is no model that could be asked."""

    code = "model_missing"
