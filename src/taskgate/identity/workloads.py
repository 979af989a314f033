"""Workloads: a token that a CI system, a cluster or another platform signed, judged by the trust
rules of the policy."""

from collections import OrderedDict
from pathlib import Path
from typing import Final

import structlog

from taskgate.identity.grants import Grants, Issued, PolicySource
from taskgate.identity.oidc.claims import (
    audiences_of,
    authenticated_at,
    check_plain,
    check_times,
    issuer_of,
    subject_of,
)
from taskgate.identity.oidc.compact import CompactToken, parse_compact
from taskgate.identity.oidc.fetching import Fetcher
from taskgate.identity.oidc.issuer import Issuer
from taskgate.identity.oidc.refusals import ProviderUnavailable, TokenRefused
from taskgate.identity.proof import Proof, ProvenGrants
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.errors import BadConfig
from taskgate.model.identity import Identity, IdentityKind
from taskgate.policy.trusts import Trust

_log = structlog.get_logger(__name__)
METHOD: Final = "token-exchange"
# Kept between two policies: a rule that was dropped should not stay in memory for ever.
_MAX_ISSUERS: Final = 200
# What signs for another purpose, by the same platforms' keys.
_OTHER_TYPES: Final = ("logout+jwt", "secevent+jwt", "dpop+jwt", "kb+jwt")


class Workloads:
    """Exchanges workloads' tokens for grants (RFC 8693). `close` when done."""

    def __init__(
        self, proven: ProvenGrants, grants: Grants, policy: PolicySource, clock: Clock
    ) -> None:
        self._proven = proven
        self._grants = grants
        self._policy = policy
        self._clock = clock
        self._fetchers: dict[str, Fetcher] = {}
        self._issuers: OrderedDict[tuple[str, str, str], Issuer] = OrderedDict()

    async def exchange(
        self, text: str, task_name: str, resource: str | None = None
    ) -> tuple[Issued, bool]:
        """A token of a grant of `task_name` for a workload's own token; whether the grant is new.

        The grant is bound to the run that the token tells of, and lives for minutes. The same
        token again gives another token of the same grant, and nothing once that grant is over.
        Raises: TokenRefused (one message), Denied (hours, resource), ProviderUnavailable,
        NotAuthenticated, OverLimit, StoreUnavailable.
        """
        token = parse_compact(text)
        trust, proof = await self._proof(token, task_name)
        grant, fresh = await self._proven.take_up(
            proof,
            task_name,
            _reason(trust, proof.identity),
            use=METHOD,
            resource=resource,
            lasts_s=trust.lasts_s,
        )
        # Anew, because between the two somebody may have ended it.
        return await self._grants.issue_token(grant.identity, grant.id), fresh

    async def close(self) -> None:
        for issuer in self._issuers.values():
            issuer.close()
        for fetcher in self._fetchers.values():
            await fetcher.close()

    async def _proof(self, token: CompactToken, task_name: str) -> tuple[Trust, Proof]:
        claimed = issuer_of(token)
        # Only issuers that the policy names are ever asked for keys.
        rules = [
            trust
            for _, trust in sorted(self._policy.current.trusts.items())
            if trust.issuer == claimed and task_name in trust.tasks
        ]
        if not rules:
            raise TokenRefused("no trust rule knows this issuer for this task")
        stated = token.header.get("typ", "")
        if not isinstance(stated, str) or stated.lower().endswith(_OTHER_TYPES):
            raise TokenRefused("the token is of a type that signs nobody in")
        check_plain(token.claims)
        spans = check_times(token.claims, self._clock.now())
        subject, audiences = subject_of(token.claims), audiences_of(token.claims)
        why = ""
        for trust in rules:
            if not audiences & trust.audiences:
                why = why or f"trust {trust.name}: the token is for another audience"
                continue
            unmet = trust.unmet(token.claims)
            if unmet is not None:
                why = why or f"trust {trust.name}: the token's claims do not meet {unmet}"
                continue
            await self._issuer(trust).verify(token)
            identity = Identity(
                subject=subject,
                issuer=trust.identity_issuer,
                kind=IdentityKind.WORKLOAD,
                authenticated_at=authenticated_at({}, spans, limits.CLOCK_SKEW_S),
                method=METHOD,
                claims=trust.kept(token.claims),
            )
            return trust, Proof(identity, token.digest, spans.until)
        raise TokenRefused(why)

    def _issuer(self, trust: Trust) -> Issuer:
        key = (trust.issuer, trust.jwks_uri, trust.ca_file)
        found = self._issuers.get(key)
        if found is None:
            fetcher = self._fetchers.get(trust.ca_file)
            if fetcher is None:
                try:
                    fetcher = Fetcher(Path(trust.ca_file) if trust.ca_file else None)
                except BadConfig as error:
                    # Whoever asks is nobody yet, and learns no paths.
                    _log.error("trust.unusable", trust=trust.name, why=error.message)
                    raise ProviderUnavailable(trust.issuer, "its ca_file cannot be used") from None
                self._fetchers[trust.ca_file] = fetcher
            found = Issuer(trust.issuer, fetcher, self._clock, trust.jwks_uri)
            self._issuers[key] = found
            if len(self._issuers) > _MAX_ISSUERS:
                self._issuers.popitem(last=False)[1].close()
        self._issuers.move_to_end(key)
        return found


def _reason(trust: Trust, identity: Identity) -> str:
    claims = dict(identity.claims)
    told = [
        f"{name} {claims[name]}"
        for name in ("workflow", "run_id", "pipeline_id", "job_id", "build_number")
        if name in claims
    ]
    return " ".join([f"workload by trust {trust.name}:", identity.subject, *told])[:1000]
