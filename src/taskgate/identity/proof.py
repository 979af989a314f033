"""Grants for a token that somebody else signed: a provider's for a person, a platform's for a job.

One such token stands for one grant of a task, however often it is shown: a hundred connections
with it are one grant, and once that was ended, or has run out, the token buys no other.
"""

from dataclasses import dataclass, field

from taskgate.identity.grants import Grants, PolicySource, checked_reason, task_open_to
from taskgate.identity.tokens import hash_token
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import Conflict, Denied, NotAuthenticated
from taskgate.model.grant import Grant
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from taskgate.model.ports import GrantStore
from taskgate.model.token import Token


@dataclass(frozen=True, slots=True)
class Proof:
    """A token from outside that was checked, and whom it speaks of. `digest` (hex) names the
    token, however it is spelled; `until` is when it stops being taken (seconds since the epoch)."""

    identity: Identity
    digest: str = field(repr=False)
    until: float


class ProvenGrants:
    """Finds or makes the grant that a proof stands for."""

    def __init__(
        self, grants: Grants, store: GrantStore, policy: PolicySource, clock: Clock
    ) -> None:
        self._grants = grants
        self._store = store
        self._policy = policy
        self._clock = clock

    async def take_up(
        self,
        proof: Proof,
        task_name: str,
        reason: str,
        *,
        use: str,
        resource: str | None = None,
        lasts_s: float | None = None,
    ) -> tuple[Grant, bool]:
        """The grant of a task, of `resource` alone or of all the task's; whether it was made now.

        It ends after `lasts_s`, or if that is not given with the token; never later than the task
        allows. Different `use`s of one token do not share a grant.
        Raises: Denied (who, hours, policy changed), NotAuthenticated if the grant is over or the
        person was cut off, OverLimit, StoreUnavailable.
        """
        now = self._clock.now()
        identity = await self._grants.as_listed(proof.identity)
        task = task_open_to(self._policy.current, identity, task_name, resource, now)
        if lasts_s is None:
            lasts_s = proof.until - now
        expires_at = now + min(lasts_s, task.lasts.at_most_s)
        if expires_at <= now:
            raise _over()
        name = "\0".join(("proof", use, task_name, resource or "", proof.digest))
        token = Token(hash_token(name), new_id("g"), now, expires_at)
        fresh = Grant(
            id=token.grant_id,
            identity=proof.identity,
            task=task.name,
            reason=checked_reason(reason),
            resources=(resource,) if resource is not None else task.resources,
            not_before=now,
            expires_at=expires_at,
        )
        grant = await self._known(token.token_hash, identity)
        if grant is not None:
            return grant, False
        try:
            kept = await self._store.add(fresh, token, limits.MAX_GRANTS_PER_PERSON)
        except Conflict:
            # Another connection was first; or its grant was buried, and this finds nothing.
            grant = await self._known(token.token_hash, identity)
            if grant is None:
                raise _over() from None
            return grant, False
        if not kept:
            raise _over()
        return fresh, True

    async def _known(self, token_hash: str, identity: Identity) -> Grant | None:
        """The grant made for this token before. Raises: NotAuthenticated if it is over."""
        found = await self._store.by_token(token_hash)
        if found is None:
            return None
        grant = found[0]
        if grant.identity.key != identity.key or not grant.live(self._clock.now()):
            raise _over()
        try:
            self._grants.ensure(grant)
        except Denied:
            raise _over() from None
        return grant


def _over() -> NotAuthenticated:
    return NotAuthenticated(
        "the grant that this token stood for is over, or its holder was cut off",
        hint="sign in again, or let the job ask its platform for a new token",
    )
