"""Who vouches for people."""

from typing import Protocol

from taskgate.model.identity import Identity


class IdentityProvider(Protocol):
    """Something that can tell who a person is: local users, and others beside them."""

    @property
    def issuer(self) -> str:
        """The `Identity.issuer` of those it vouches for."""
        ...

    async def sign_in(self, name: str, password: str, now: float, *, source: str = "") -> Identity:
        """The identity behind a name and a password.

        `source` is where the attempt comes from (an address), for slowing down guesses; `now`
        is in seconds since the epoch. Raises: NotAuthenticated, with the same message whatever
        was wrong; StoreUnavailable; OverLimit when too many sign in at once.
        """
        ...
