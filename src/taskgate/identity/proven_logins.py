"""A provider's token as the API's bearer: taken as it is, and known from its first use on."""

from taskgate.identity.grants import Grants
from taskgate.identity.proof import Proof
from taskgate.identity.tokens import hash_token
from taskgate.model import limits
from taskgate.model.account import Login
from taskgate.model.clock import Clock
from taskgate.model.errors import Conflict, NotAuthenticated
from taskgate.model.identity import Identity
from taskgate.model.ports import LoginStore


class ProvenLogins:
    """Each token has a row among the API's sign-ins, so that cutting its holder off ends it like
    those. The token itself is checked anew on every request, before this is asked."""

    def __init__(self, store: LoginStore, grants: Grants, clock: Clock) -> None:
        self._store = store
        self._grants = grants
        self._clock = clock

    async def known(self, proof: Proof) -> Identity | None:
        """The holder of a token that was used before and still counts.

        Raises: NotAuthenticated for somebody whom the directory has shut out; StoreUnavailable.
        """
        login = await self._store.get(_name(proof))
        if login is None or self._clock.now() >= login.expires_at:
            return None
        return await self._grants.as_listed(proof.identity)

    async def admit(self, proof: Proof, source: str) -> Identity:
        """The holder of a token that is used for the first time.

        Raises: NotAuthenticated if they were cut off since they authenticated; StoreUnavailable.
        """
        identity = await self._grants.as_listed(proof.identity)
        now = self._clock.now()
        login = Login(_name(proof), proof.identity, now, proof.until, source, "api")
        try:
            kept = await self._store.add(login, limits.MAX_LOGINS_PER_PERSON)
        except Conflict:
            # Two requests at once: the other one's row stands for both.
            kept = await self.known(proof) is not None
        if not kept:
            raise NotAuthenticated("the sign-in behind this token has ended", hint="sign in again")
        return identity


def _name(proof: Proof) -> str:
    return hash_token(f"bearer\0{proof.digest}")
