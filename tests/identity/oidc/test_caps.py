"""How much of a provider's and its tokens' is looked at."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from taskgate.identity.oidc.claims import check_times
from taskgate.identity.oidc.compact import parse_object
from taskgate.identity.oidc.keys import BadKeys, parse_keys
from taskgate.identity.oidc.people import groups_of
from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.oidc.settings import GroupMapping
from taskgate.identity.oidc.sign_in import SignIns
from taskgate.model import limits
from tests.identity.clocks import SteppedClock
from tests.identity.oidc.issuing import rsa_key

NOW = 1_000_000.0


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


@pytest.mark.cap("MAX_JWT_DEPTH")
def test_a_token_is_nested_so_deep() -> None:
    assert parse_object(nested(limits.MAX_JWT_DEPTH))
    with pytest.raises(TokenRefused) as caught:
        parse_object(nested(limits.MAX_JWT_DEPTH + 1))
    assert "no plain JSON object" in caught.value.why


@pytest.fixture(scope="module")
def key() -> Mapping[str, Any]:
    return dict(rsa_key("one").as_dict(private=False))


@pytest.mark.cap("MAX_JWKS_KEYS")
def test_a_key_set_has_so_many_keys(key: Mapping[str, Any]) -> None:
    others = [{"kty": "oct"}] * (limits.MAX_JWKS_KEYS - 1)
    assert len(parse_keys(json.dumps({"keys": [key, *others]}).encode()).keys) == 1
    with pytest.raises(BadKeys, match="more than 1000 keys"):
        parse_keys(json.dumps({"keys": [key, {}, *others]}).encode())


@pytest.mark.cap("MAX_JWKS_BYTES")
def test_a_key_set_has_so_many_bytes(key: Mapping[str, Any]) -> None:
    text = json.dumps({"keys": [key]}).encode()
    assert parse_keys(text.ljust(limits.MAX_JWKS_BYTES))
    with pytest.raises(BadKeys, match="larger than"):
        parse_keys(text.ljust(limits.MAX_JWKS_BYTES + 1))


@pytest.mark.cap("MAX_GROUPS_PER_IDENTITY")
def test_who_is_in_more_groups_than_that_is_in_none() -> None:
    names = [f"g{number}" for number in range(limits.MAX_GROUPS_PER_IDENTITY + 1)]
    assert len(groups_of(GroupMapping(), {"groups": names[1:]})) == len(names) - 1
    assert groups_of(GroupMapping(), {"groups": names}) == frozenset()


@pytest.mark.cap("CLOCK_SKEW_S")
def test_clocks_may_differ_by_so_much() -> None:
    skew_s = limits.CLOCK_SKEW_S
    good = {"exp": NOW - skew_s + 1, "iat": NOW + skew_s, "nbf": NOW + skew_s}
    assert check_times(good, NOW).until == NOW + 1
    for wrong, why in (
        ({"exp": NOW - skew_s}, "expired"),
        ({"iat": NOW + skew_s + 1}, "in the future"),
        ({"nbf": NOW + skew_s + 1}, "not valid yet"),
    ):
        with pytest.raises(TokenRefused) as caught:
            check_times(good | wrong, NOW)
        assert why in caught.value.why


@pytest.mark.cap("MAX_USED_SIGN_INS")
async def test_so_many_used_sign_ins_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_USED_SIGN_INS", 2)
    clock = SteppedClock(NOW)
    providers = Providers([], clock)
    sign_ins = SignIns(providers, Sealer(b"k" * 32), clock)
    for state in ("a", "b"):
        sign_ins._spend(state, NOW + 60)
    for state in ("a", "b"):
        with pytest.raises(TokenRefused) as caught:
            sign_ins._spend(state, NOW + 60)
        assert "used before" in caught.value.why
    # One more: the oldest is forgotten, and left to the provider, which takes a code once too.
    sign_ins._spend("c", NOW + 60)
    sign_ins._spend("a", NOW + 60)
    await providers.close()
