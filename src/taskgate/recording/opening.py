"""The first event of a recording: who, under what, from where."""

from typing import Any

from taskgate.model.authentication import Authentication
from taskgate.model.event import Event, EventKind
from taskgate.model.grant import SessionInfo
from taskgate.model.identity import Identity
from taskgate.recording.heads import Anchor

FORMAT = 1


def session_opened(info: SessionInfo, reason: str, gateway: str, anchor: Anchor) -> Event:
    """`anchor` is the newest entry of the gateway-wide chain: a recording that outlives it shows
    that entries of the chain were dropped."""
    facts: dict[str, Any] = {
        "grant": info.grant_id,
        **identity_facts(info.identity),
        "task": info.task,
        "resource": info.resource,
        "protocol": info.protocol,
        "reason": reason,
        "client_address": info.client_address,
        "client_application": info.client_application,
    }
    if info.signed_in_with:
        facts["signed_in_with"] = dict(info.signed_in_with)
    if info.break_glass:
        facts["break_glass"] = info.break_glass
    if info.chain:
        facts["step"] = info.step
        facts["chain"] = [
            {"grant": link.grant, "identity": link.identity, "step": link.step}
            for link in info.chain
        ]
    return _opened(EventKind.SESSION_OPENED, info.started_at, info.id, gateway, anchor, facts)


def log_opened(recording: str, gateway: str, anchor: Anchor, now: float) -> Event:
    """For the gateway's own log."""
    return _opened(EventKind.RECORDING_OPENED, now, recording, gateway, anchor, {})


def identity_facts(identity: Identity) -> dict[str, Any]:
    """An identity as events carry it: `identity` is its key; `acts_for` the chain behind an
    agent, nearest first; `claims` (only where there are any) what tells one run of a job from
    another; `amr`, `acr` and `auth_time` (only where told) how the person behind it all signed
    in."""
    chain: list[Identity] = []
    behind = identity.acts_for
    while behind is not None and len(chain) < 16:
        chain.append(behind)
        behind = behind.acts_for
    return {
        "identity": identity.key,
        "identity_kind": identity.kind.value,
        "groups": sorted(identity.groups),
        "method": identity.method,
        "authenticated_at": identity.authenticated_at,
        "acts_for": [one.key for one in chain],
        **({"claims": dict(identity.claims)} if identity.claims else {}),
        **_authentication_facts(identity.principal.authentication),
    }


def _authentication_facts(shown: Authentication) -> dict[str, Any]:
    """Only what was told."""
    return {
        **({"amr": sorted(shown.amr)} if shown.amr else {}),
        **({"acr": shown.acr} if shown.acr else {}),
        **({"auth_time": shown.auth_time} if shown.auth_time is not None else {}),
    }


def _opened(
    kind: EventKind,
    at: float,
    recording: str,
    gateway: str,
    anchor: Anchor,
    facts: dict[str, Any],
) -> Event:
    about: dict[str, Any] = {
        "format": FORMAT,
        "recording": recording,
        "gateway": gateway,
        "heads": [anchor.number, anchor.hash],
    }
    return Event(kind, at, about | facts)
