"""What every language of models can do."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.wires.asked import Asked
from agentvine.domains.gateway.wires.used import Scanner

Json = dict[str, Any]


class Wire(ABC):
    """One way to ask a model: an address, the form of a request, and that of its answers."""

    language: ClassVar[ModelWire]
    """Which providers speak it."""

    @abstractmethod
    def read(self, raw: bytes, body: Json, path: str) -> Asked:
        """What a request asks.

        Raises:
            RequestUnreadable: It is not in this language.
            FeatureUnpriced: It asks for what has no price.
        """

    @abstractmethod
    def limit_output(self, asked: Asked, tokens: int, *, is_compatible: bool) -> None:
        """Let an answer have so many tokens at most."""

    def ask_for_usage(self, asked: Asked) -> None:
        """Have the provider tell the usage in the stream, where it does so only when asked."""

    def rename(self, asked: Asked, real_model: str) -> None:
        """Ask the model by the name that its provider has for it."""
        asked.put("model", real_model)

    @abstractmethod
    def target(self, asked: Asked, real_model: str) -> str:
        """The path below a provider's address."""

    def counting(self, asked: Asked, real_model: str) -> tuple[str, Json] | None:
        """Path and body of the question how many tokens go in; None where nobody can be asked."""
        return None

    def counted(self, told: Json) -> int | None:
        """The answer to that question."""
        return None

    @abstractmethod
    def scanner(self) -> Scanner:
        """A reader for one answer."""

    @abstractmethod
    def error_body(self, status: int, code: str, message: str, facts: Mapping[str, Any]) -> Json:
        """An error as this language has it."""
