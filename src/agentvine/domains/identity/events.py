"""What happens to identities, told to the reactions in the same transaction."""

import uuid
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """Nobody is let in by this token any more: what it held is to be freed."""

    token_id: uuid.UUID
