"""What people sign in with at the SSH listener beside tokens: certificates and registered keys."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

from taskgate.model.authentication import Authentication
from taskgate.model.identity import Identity


@dataclass(frozen=True, slots=True)
class UserCertificate:
    """A certificate that the gate has signed. `login` is the hash of the API sign-in's token that
    it was asked for with: with the end of that sign-in it opens nothing any more. `fingerprint` is
    that of the certified key. Times are seconds since the epoch."""

    serial: int
    person: str
    login: str = field(repr=False)
    fingerprint: str
    issued_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A public key of a person's own, in OpenSSH's form. `shown` is how they had signed in when
    they registered it: the key stands for no more than that."""

    id: str
    person: str
    fingerprint: str
    public_key: str
    label: str
    shown: Authentication
    added_at: float
    last_used_at: float | None = None


class SshAccessStore(Protocol):
    """Certificates and keys, on every node alike. Every method may raise StoreUnavailable."""

    async def add_certificate(self, certificate: UserCertificate, most: int) -> bool:
        """Keeps it; False if its sign-in has ended. Raises: OverLimit beyond `most` that are not
        over, of one sign-in."""
        ...

    async def certificate(self, serial: int, now: float) -> tuple[UserCertificate, Identity] | None:
        """One that counts at `now`, as its sign-in does, and who signed in."""
        ...

    async def add_key(self, key: RegisteredKey, identity: Identity, most: int) -> bool:
        """Keeps a key of `identity`'s; False if they were cut off since they signed in. Raises:
        Conflict where the key is registered already, whoever has it; OverLimit."""
        ...

    async def key(self, fingerprint: str) -> RegisteredKey | None: ...

    async def key_by_id(self, key_id: str) -> RegisteredKey | None: ...

    async def keys(self, person: str | None, limit: int) -> tuple[RegisteredKey, ...]:
        """One person's, or everybody's; newest first."""
        ...

    async def used_key(self, key_id: str, at: float) -> None: ...

    async def remove_key(self, key_id: str) -> bool:
        """False if it is not there."""
        ...

    async def standing(
        self, serials: Collection[int], keys: Collection[str], now: float
    ) -> tuple[frozenset[int], frozenset[str]]:
        """Those of these certificates and keys (by id) that still count."""
        ...
