"""What local users prove themselves with besides a password."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Authenticator:
    """An app that shows codes (RFC 6238). Its secret is sealed apart, under `id`.

    It counts once `confirmed`: whoever enrolled it has shown that they have it. `last_step` is
    the newest time step whose code was taken; neither it nor an older one is taken again. Times
    are seconds since the epoch.
    """

    id: str
    user: str
    label: str
    added_at: float
    confirmed: bool = False
    last_step: int = -1
    last_used_at: float | None = None


@dataclass(frozen=True, slots=True)
class Passkey:
    """A WebAuthn credential. `public_key` is its COSE key (RFC 9052), in CBOR; `sign_count` the
    highest counter that it has shown, 0 for one that has none."""

    id: str
    user: str
    label: str
    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    added_at: float
    last_used_at: float | None = None


@dataclass(frozen=True, slots=True)
class Factors:
    """All that one user has. `recovery_left` counts the recovery codes that are unused."""

    authenticators: tuple[Authenticator, ...] = ()
    passkeys: tuple[Passkey, ...] = ()
    recovery_left: int = 0

    @property
    def demanded(self) -> bool:
        """Whether a password alone is not enough any more."""
        return bool(self.passkeys) or any(one.confirmed for one in self.authenticators)

    @property
    def count(self) -> int:
        return len(self.authenticators) + len(self.passkeys)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A question put to a browser, to be answered once before `expires_at`. `user` is empty
    where whoever answers says who they are."""

    digest: str
    purpose: str
    user: str
    expires_at: float
