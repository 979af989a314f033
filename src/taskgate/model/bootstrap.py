"""How the first administrator comes about."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class FirstAdministrator:
    """Whoever used the one-time code, and until when that alone gives them rights (seconds since
    the epoch). `person` is an `Identity.key`."""

    person: str
    until: float


class BootstrapStore(Protocol):
    """The one code that counts, by its hash; see `model.ports`."""

    async def offer(self, code_hash: str, expires_at: float) -> None:
        """Replaces whatever was offered or used before."""
        ...

    async def offered(self, code_hash: str, now: float) -> bool:
        """Whether this code could be used now."""
        ...

    async def use(self, code_hash: str, person: str, now: float, until: float) -> bool:
        """True for one caller."""
        ...

    async def first(self) -> FirstAdministrator | None: ...
