"""Sign-ins to the API: a bearer token for a while, nothing more."""

from dataclasses import dataclass, field
from typing import Final

from taskgate.identity.listing import Listing
from taskgate.identity.tokens import TokenKind, hash_token, looks_right, new_token
from taskgate.model import limits
from taskgate.model.account import Login
from taskgate.model.clock import Clock
from taskgate.model.errors import NotAuthenticated
from taskgate.model.identity import Identity
from taskgate.model.ports import LoginStore

LASTS_S: Final = 12 * 3600.0
_REFUSED: Final = "not signed in, or the sign-in has ended"
_REFUSED_HINT: Final = "sign in again with taskgate login"


@dataclass(frozen=True, slots=True)
class NewLogin:
    """`token` is shown once, here."""

    login: Login
    token: str = field(repr=False)


class Logins:
    """Issues and checks API tokens. A check always asks the store, so that signing out, cutting
    off and taking groups away count at once on every node."""

    def __init__(self, store: LoginStore, clock: Clock, directory: Listing | None = None) -> None:
        """`directory` says what counts of somebody now, where anything does."""
        self._store = store
        self._clock = clock
        self._directory = directory

    async def issue(
        self,
        identity: Identity,
        lasts_s: float = LASTS_S,
        *,
        source: str = "",
        application: str = "",
    ) -> NewLogin:
        """A new sign-in of somebody who has just authenticated. `source` is the address it came
        from and `application` the door it came through, for the map of use.

        Raises: NotAuthenticated if the person was cut off since, or has left; StoreUnavailable.
        """
        if self._directory is not None:
            await self._directory.current(identity)
        now = self._clock.now()
        await self._store.forget(now)
        token, token_hash = new_token(TokenKind.LOGIN)
        login = Login(token_hash, identity, now, now + min(lasts_s, LASTS_S), source, application)
        if not await self._store.add(login, limits.MAX_LOGINS_PER_PERSON):
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        return NewLogin(login, token)

    async def check(self, token: str) -> Identity:
        """Raises: NotAuthenticated, the same whatever is wrong; StoreUnavailable."""
        login = await self.login_of(token)
        if self._directory is None:
            return login.identity
        return await self._directory.current(login.identity)

    async def login_of(self, token: str) -> Login:
        """The sign-in that a token stands for, as it was made. Raises: as `check`."""
        if looks_right(token, TokenKind.LOGIN):
            login = await self._store.get(hash_token(token))
            if login is not None and login.created_at <= self._clock.now() < login.expires_at:
                return login
        raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)

    async def end(self, token: str) -> None:
        """Signing out; a token that is not there is out already."""
        await self._store.end(hash_token(token))
