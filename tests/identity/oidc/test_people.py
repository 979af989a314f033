"""Claims to groups and kinds: rights come from what is understood only."""

from typing import Any

import pytest

from taskgate.identity.oidc.claims import Spans, authenticated_at, check_access_hash
from taskgate.identity.oidc.compact import CompactToken
from taskgate.identity.oidc.people import groups_of, identity_of
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.settings import GroupMapping, ProviderSettings
from taskgate.model.identity import IdentityKind
from taskgate.recording.opening import identity_facts

ALL = GroupMapping(prefix="corp/")
SPANS = Spans(1000.0, 2000.0)


@pytest.mark.parametrize(
    ("mapping", "claims", "groups"),
    [
        (ALL, {"groups": ["a", "b"]}, {"corp/a", "corp/b"}),
        (ALL, {"groups": "a"}, {"corp/a"}),
        (ALL, {"groups": ["a", 7, None, "", "x\ny", "z" * 256, ["b"]]}, {"corp/a"}),
        (ALL, {"groups": {"a": True}}, set()),
        (ALL, {"groups": True}, set()),
        (ALL, {}, set()),
        (ALL, {"groups": [str(n) for n in range(1_001)]}, set()),
        (ALL, {"_claim_names": {"groups": "src1"}}, set()),
        (GroupMapping(), {"groups": ["a"]}, {"a"}),
        (GroupMapping(("realm", "roles")), {"realm": {"roles": ["a"]}}, {"a"}),
        (GroupMapping(("realm", "roles")), {"realm": ["roles"]}, set()),
        (GroupMapping(renamed={"1": ("dba", "ops")}), {"groups": ["1", "dba"]}, {"dba", "ops"}),
        (GroupMapping(renamed={}), {"groups": ["admins"]}, set()),
    ],
)
def test_groups(mapping: GroupMapping, claims: dict[str, Any], groups: set[str]) -> None:
    assert groups_of(mapping, claims) == groups


@pytest.mark.parametrize(
    ("claims", "kind"),
    [
        ({"sub": "ann"}, IdentityKind.HUMAN),
        ({"sub": "ann", "azp": "gate"}, IdentityKind.HUMAN),
        ({"sub": "robot", "client_id": "robot"}, IdentityKind.WORKLOAD),
        ({"sub": "robot", "azp": "robot"}, IdentityKind.WORKLOAD),
        ({"sub": "x", "idtyp": "app"}, IdentityKind.WORKLOAD),
        ({"sub": "x@clients", "gty": "client-credentials"}, IdentityKind.WORKLOAD),
    ],
)
def test_a_client_for_itself_is_no_person(claims: dict[str, Any], kind: IdentityKind) -> None:
    settings = ProviderSettings("corp", "https://x", "gate")
    assert identity_of(settings, claims, SPANS, "m").kind is kind


def test_an_email_address_counts_only_where_it_was_verified() -> None:
    settings = ProviderSettings("corp", "https://x", "gate", subject_claim="email")
    claims = {"sub": "1", "email": "ann@example.com", "email_verified": True}
    assert identity_of(settings, claims, SPANS, "m").key == "corp:ann@example.com"
    for verified in (False, None, "true", 1):
        with pytest.raises(TokenRefused):
            identity_of(settings, claims | {"email_verified": verified}, SPANS, "m")


def test_the_earliest_time_counts_as_the_authentication() -> None:
    assert authenticated_at({}, SPANS) == 1000.0
    assert authenticated_at({"auth_time": 500}, SPANS) == 500.0
    assert authenticated_at({"auth_time": 5000}, SPANS) == 1000.0
    assert authenticated_at({}, Spans(None, 1.0)) == 0.0
    assert authenticated_at({}, SPANS, 60.0) == 940.0


def test_an_actor_acts_for_the_subject_and_is_not_taken_for_it() -> None:
    settings = ProviderSettings("corp", "https://x", "gate", groups=ALL)
    claims = {
        "sub": "ann", "groups": ["analysts"], "amr": ["mfa"], "sid": "s1",
        "act": {"sub": "claude", "act": {"sub": "an-older-actor"}},
    }  # fmt: skip
    agent = identity_of(settings, claims, SPANS, "m")
    assert (agent.kind, agent.key) == (IdentityKind.AGENT, "agent:corp/claude@corp:ann")
    assert agent.groups == frozenset()
    assert agent.acts_for is not None
    assert agent.acts_for.key == "corp:ann"
    assert agent.acts_for.groups == {"corp/analysts"}
    assert agent.keys == ("agent:corp/claude@corp:ann", "corp:ann")
    assert agent.rests_on == (*agent.keys, "session/corp:s1")
    assert agent.principal.authentication.multi_factor
    assert identity_facts(agent)["acts_for"] == ["corp:ann"]


@pytest.mark.parametrize(
    "act", [None, "claude", {}, {"sub": ""}, {"sub": 7}, {"sub": " claude"}, {"sub": "a\nb"}, []]
)
def test_an_actor_that_cannot_be_read_signs_nobody_in(act: object) -> None:
    settings = ProviderSettings("corp", "https://x", "gate")
    with pytest.raises(TokenRefused):
        identity_of(settings, {"sub": "ann", "act": act}, SPANS, "m")


def signed_with(algorithm: str, at_hash: object) -> CompactToken:
    return CompactToken({"alg": algorithm}, {"at_hash": at_hash}, b"", b"")


def test_the_access_token_is_the_one_that_the_id_token_tells_of() -> None:
    # OpenID Connect Core 1.0, appendix A.3.
    access = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"
    check_access_hash(signed_with("RS256", "77QmUPtjPfzWtF2AnpK9RQ"), access)
    for wrong in ("77QmUPtjPfzWtF2AnpK9RR", "", 7, "77QmUPtjPfzWtF2AnpK9RQ=="):
        with pytest.raises(TokenRefused):
            check_access_hash(signed_with("RS256", wrong), access)
    with pytest.raises(TokenRefused):
        check_access_hash(signed_with("RS384", "77QmUPtjPfzWtF2AnpK9RQ"), access)
    with pytest.raises(TokenRefused):
        check_access_hash(signed_with("RS256", "77QmUPtjPfzWtF2AnpK9RQ"), access + "x")
