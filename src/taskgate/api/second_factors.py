"""Second factors: everybody keeps their own; an administrator may take somebody's away.

Whoever changes how they sign in must have signed in just now, and by the second factor that they
have: a token left lying about must not let a stranger move in.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response

from taskgate.api.caller import CallerHere, PartsHere, need
from taskgate.api.factor_shapes import (
    ConfirmAsked,
    EnrolAsked,
    EnrolmentShown,
    FactorShown,
    FactorsReset,
    FactorsShown,
    RecoveryCodes,
)
from taskgate.api.problems import TooMany
from taskgate.gateway.parts import Parts
from taskgate.gateway.rates import Rates
from taskgate.identity.local import ISSUER
from taskgate.identity.second_factors import ensure_may_change
from taskgate.model import limits
from taskgate.model.errors import Denied, NotFound
from taskgate.model.event import EventKind
from taskgate.model.factor import Factors
from taskgate.model.identity import Identity, IdentityKind
from taskgate.policy.rules import Right

router = APIRouter()
FactorInPath = Annotated[str, Path(min_length=1, max_length=100)]


class FactorTries:
    """How often one person may try to confirm a factor."""

    def __init__(self) -> None:
        self._people = Rates(limits.MAX_FACTOR_TRIES_PER_PERSON_PER_MIN)

    def take(self, person: str, at: float) -> None:
        """Raises: TooMany."""
        wait_s = self._people.wait_s(person, at)
        if wait_s > 0:
            raise TooMany(wait_s)


def tries_of(request: Request) -> FactorTries:
    """The counter of this application."""
    tries: FactorTries = request.app.state.factor_tries
    return tries


TriesHere = Annotated[FactorTries, Depends(tries_of)]


@router.get("/mfa")
async def factors(caller: CallerHere, parts: PartsHere) -> FactorsShown:
    """The caller's own second factors."""
    return shown(await parts.people.users.second.of(own_name(caller.identity)))


@router.post("/mfa/apps", status_code=201)
async def enrol(asked: EnrolAsked, caller: CallerHere, parts: PartsHere) -> EnrolmentShown:
    """Begins with an authenticator app; it counts once a code of it was seen."""
    user = await changeable(parts, caller.identity)
    done = await parts.people.users.second.enrol(user, asked.label, parts.clock.now())
    return EnrolmentShown(id=done.authenticator.id, secret=done.secret, uri=done.uri)


@router.post("/mfa/apps/{factor_id}/confirm")
async def confirm(
    factor_id: FactorInPath,
    asked: ConfirmAsked,
    caller: CallerHere,
    parts: PartsHere,
    tries: TriesHere,
) -> RecoveryCodes:
    """Lets an enrolled app count. With the first factor come recovery codes."""
    user = await changeable(parts, caller.identity)
    tries.take(caller.key, parts.clock.monotonic())
    await note(parts, caller.identity, user, factor_id, "an authenticator app is added")
    codes = await parts.people.users.second.confirm(
        user, factor_id, asked.code.get_secret_value(), parts.clock.now()
    )
    return RecoveryCodes(codes=list(codes))


@router.delete("/mfa/{factor_id}", status_code=204)
async def remove(factor_id: FactorInPath, caller: CallerHere, parts: PartsHere) -> Response:
    """Takes one of the caller's own factors away."""
    user = await changeable(parts, caller.identity)
    await note(parts, caller.identity, user, factor_id, "a second factor is removed")
    await parts.people.users.second.remove(user, factor_id)
    return Response(status_code=204)


@router.post("/mfa/recovery-codes/renew")
async def renew_codes(caller: CallerHere, parts: PartsHere) -> RecoveryCodes:
    """New recovery codes in place of all before."""
    user = await changeable(parts, caller.identity)
    await note(parts, caller.identity, user, "", "recovery codes are made anew")
    return RecoveryCodes(codes=list(await parts.people.users.second.renew_codes(user)))


@router.post("/users/{name}/reset-mfa")
async def reset(
    name: Annotated[str, Path(min_length=1, max_length=200)], caller: CallerHere, parts: PartsHere
) -> FactorsReset:
    """Takes all of a user's second factors away, and ends their sign-ins and grants. Needs the
    right to administer; nobody does it for themselves."""
    need(parts.policies.current, caller.identity, Right.ADMINISTER)
    known = await parts.people.users.get(name)
    if known is None:
        raise NotFound(f"there is no user {name}", hint="taskgate user list shows them")
    if f"{ISSUER}:{known.name}" in caller.identity.keys:
        raise Denied(
            "nobody resets their own second factors",
            rule="roles",
            hint="another administrator must; or taskgate mfa remove, after signing in with one",
        )
    await note(parts, caller.identity, known.name, "", "all second factors are reset")
    removed = await parts.people.users.second.reset(known.name, parts.clock.now())
    await parts.people.grants.poll()
    return FactorsReset(removed=removed)


def own_name(identity: Identity) -> str:
    """The caller's name as a local user. Raises: Denied for everyone else."""
    if (
        identity.issuer != ISSUER
        or identity.kind is not IdentityKind.HUMAN
        or identity.acts_for is not None
    ):
        raise Denied(
            "second factors are kept here for local users alone",
            rule="mfa",
            hint="your identity provider keeps yours",
        )
    return identity.subject


async def changeable(parts: Parts, identity: Identity) -> str:
    """The caller's name, if this sign-in may change how they sign in. Raises: Denied."""
    user = own_name(identity)
    ensure_may_change(identity, await parts.people.users.second.of(user), parts.clock.now())
    return user


async def note(parts: Parts, who: Identity, user: str, factor_id: str, what: str) -> None:
    """Records the change before it happens. Raises: NotRecorded."""
    facts = {"name": user, "factor": factor_id, "reason": what}
    await parts.records.log(EventKind.FACTOR_CHANGED, who, facts)


def shown(found: Factors) -> FactorsShown:
    """The same as JSON."""
    apps = [
        FactorShown(
            id=one.id,
            kind="app",
            label=one.label,
            added_at=one.added_at,
            confirmed=one.confirmed,
            last_used_at=one.last_used_at,
        )
        for one in found.authenticators
    ]
    keys = [
        FactorShown(
            id=one.id,
            kind="passkey",
            label=one.label,
            added_at=one.added_at,
            confirmed=True,
            last_used_at=one.last_used_at,
        )
        for one in found.passkeys
    ]
    return FactorsShown(
        factors=[*apps, *keys], recovery_left=found.recovery_left, demanded=found.demanded
    )
