"""Claims to groups and kinds: rights come from what is understood only."""

from typing import Any

import pytest

from taskgate.identity.oidc.claims import Spans, authenticated_at
from taskgate.identity.oidc.people import groups_of, identity_of
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.settings import GroupMapping, ProviderSettings
from taskgate.model.identity import IdentityKind

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
