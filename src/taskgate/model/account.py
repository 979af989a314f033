"""Accounts that the gate itself keeps: local users, and API sign-ins."""

from dataclasses import dataclass, field

from taskgate.model.identity import Identity, IdentityKind


@dataclass(frozen=True, slots=True)
class User:
    """A local user. `name` is in its normal form (`identity.local.normal_name`).

    `password_hash` is argon2's own encoded string (RFC 9106). `acts_for` is the name of the local
    user behind an agent, empty for everyone else. Times are seconds since the epoch.
    """

    name: str
    password_hash: str = field(repr=False)
    groups: frozenset[str]
    created_at: float
    disabled: bool = False
    kind: IdentityKind = IdentityKind.HUMAN
    acts_for: str = ""


@dataclass(frozen=True, slots=True)
class Login:
    """One sign-in to the API. Only the hash of its bearer token is kept.

    `source` is the address it came from and `application` the door (`api`, `console`); both are
    kept for the map of use, not with the sign-in.
    """

    token_hash: str = field(repr=False)
    identity: Identity
    created_at: float
    expires_at: float
    source: str = ""
    application: str = ""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How failed sign-ins are slowed down: `free` failures in a row cost nothing, each one after
    that doubles the wait from `first_s` up to `most_s`; `forget_s` without any clears them."""

    free: int
    first_s: float
    most_s: float
    forget_s: float

    def wait_s(self, failures: int) -> float:
        """Seconds that the next try must wait after so many failures in a row."""
        over = failures - self.free
        if over <= 0:
            return 0.0
        # The exponent is capped so that a float never overflows.
        return min(self.most_s, self.first_s * 2.0 ** min(over - 1, 64))
