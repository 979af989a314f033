"""Tokens that an identity provider never meant for this gate, in every way known: refused, all
with the same words, and none of them makes the gate ask anywhere for keys but at its own issuer."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.model.clock import Clock
from taskgate.model.limits import MAX_JWT_CHARS
from tests.identity.oidc.conftest import settings_for
from tests.identity.oidc.issuing import (
    Issuing,
    ec_key,
    ed_key,
    hmac_signed,
    issuing,
    part,
    pem,
    rsa_key,
    sign,
)

NOW = int(time.time())
KEYS: list[Any] = []


@pytest.fixture(scope="module")
def evil() -> RSAKey:
    return rsa_key("one")


@pytest.fixture
def there() -> Iterator[Issuing]:
    if not KEYS:
        KEYS.extend((rsa_key("one"), ec_key("ec"), ed_key("ed")))
    with issuing(*KEYS) as running:
        yield running


@pytest.fixture
async def providers(there: Issuing) -> AsyncIterator[Providers]:
    made = Providers([settings_for(there.issuer)], Clock())
    yield made
    await made.close()


async def refusal(providers: Providers, token: str) -> str:
    with pytest.raises(TokenRefused) as caught:
        await providers.prove(token)
    assert str(caught.value) == str(TokenRefused("anything"))
    return caught.value.why


Case = Callable[[Issuing, RSAKey], str]


def _header(**changed: Any) -> Any:
    return lambda i, _: sign(
        i.keys[0], {"alg": "RS256", "kid": "one"} | changed, json.dumps(i.claims())
    )


def _bare(header: object) -> Any:
    """No key's signature at all."""
    return lambda i, _: f"{part(header)}.{part(i.claims())}.{part(b'x')}"


def _hmac(secret: Callable[[Issuing], bytes]) -> Any:
    """A public key used as if it were a shared secret."""
    return lambda i, _: hmac_signed(secret(i), {"alg": "HS256", "kid": "one"}, i.claims())


def _evil(more: Callable[[Issuing, RSAKey], dict[str, Any]] = lambda i, evil: {}) -> Any:
    """Signed with a key of the attacker's own, with `more` in the header."""

    def make(i: Issuing, evil: RSAKey) -> str:
        header = {"alg": "RS256", "kid": "one"} | more(i, evil)
        return sign(evil, header, json.dumps(i.claims()))

    return make


def _claims(**changed: Any) -> Any:
    return lambda i, _: i.token(**changed)


def _text(make: Callable[[str], str]) -> Any:
    """A token over the JSON text that `make` makes of the good claims' text."""
    return lambda i, _: sign(
        i.keys[0], {"alg": "RS256", "kid": "one"}, make(json.dumps(i.claims()))
    )


CASES: dict[str, tuple[str, Case]] = {
    "alg none": ("algorithm", _bare({"alg": "none"})),
    "alg none, no signature": (
        "no signed", lambda i, _: f"{part({'alg': 'none'})}.{part(i.claims())}.",
    ),
    "alg nOnE": ("algorithm", _bare({"alg": "nOnE"})),
    "alg missing": ("algorithm", _bare({"kid": "one"})),
    "alg a list": ("algorithm", _bare({"alg": ["RS256"]})),
    "HS256 with the public key": ("algorithm", _hmac(lambda i: pem(i.keys[0]))),
    "HS256 with the modulus": (
        "algorithm", _hmac(lambda i: str(i.keys[0].as_dict()["n"]).encode()),
    ),
    "another's key under the same kid": ("signature", _evil()),
    "another's key in jwk": (
        "signature", _evil(lambda i, evil: {"jwk": evil.as_dict(private=False)}),
    ),
    "another's key at jku": ("signature", _evil(lambda i, _: {"jku": f"{i.issuer}/evil"})),
    "another's key at x5u": ("signature", _evil(lambda i, _: {"x5u": f"{i.issuer}/evil.pem"})),
    "another's key in x5c": ("signature", _evil(lambda i, _: {"x5c": ["MIIB"]})),
    "kid a path": ("no such key", _header(kid="../../../../dev/null")),
    "kid an SQL injection": ("no such key", _header(kid="one' UNION SELECT 'x")),
    "kid an address": ("no such key", _header(kid="http://127.0.0.1/evil")),
    "kid with a NUL": ("no such key", _header(kid="one\0")),
    "kid a number": ("kid", _header(kid=1)),
    "kid very long": ("kid", _header(kid="o" * 5000)),
    "kid of a key of another kind": ("no such key", _header(kid="ec")),
    "crit": ("extension", _header(crit=["exp"])),
    "b64 false": ("extension", _header(b64=False)),
    "a logout token by type": ("type", _header(typ="logout+jwt")),
    "a proof of possession": ("type", _header(typ="dpop+jwt")),
    "typ a number": ("typ", _header(typ=7)),
    "wrong issuer": ("no provider", _claims(iss="https://evil.example")),
    "issuer with a slash more": ("no provider", lambda i, _: i.token(iss=i.issuer + "/")),
    "issuer in capitals": ("no provider", lambda i, _: i.token(iss=i.issuer.upper())),
    "no issuer": ("no issuer", _claims(iss=None)),
    "issuer a list": ("no issuer", lambda i, _: i.token(iss=[i.issuer])),
    "wrong audience": ("audience", _claims(aud="another-app")),
    "no audience": ("audience", _claims(aud=None)),
    "audience a prefix": ("audience", _claims(aud="gat")),
    "audience an object": ("audience", _claims(aud={"gate": 1})),
    "for many, issued to nobody named": ("azp", _claims(aud=["gate", "another-app"])),
    "for many, issued to another": ("another client", _claims(aud=["gate", "x"], azp="x")),
    "issued to another client": ("another client", _claims(azp="another-app")),
    "expired": ("expired", _claims(iat=NOW - 4000, exp=NOW - 3600)),
    "never expires": ("never expires", _claims(exp=None)),
    "exp null": ("exp", _text(lambda t: t.replace('"exp": ', '"exp": null, "old": '))),
    "exp a text": ("exp", _claims(exp="9999999999")),
    "exp infinite": (
        "plain JSON", _text(lambda t: t.replace('"exp": ', '"exp": Infinity, "old": ')),
    ),
    "exp 1e400": ("exp", _text(lambda t: t.replace('"exp": ', '"exp": 1e400, "old": '))),
    "exp true": ("exp", _claims(exp=True)),
    "exp far beyond time": ("exp", _claims(exp=10**30)),
    "exp negative": ("exp", _claims(exp=-1)),
    "not valid yet": ("not valid yet", _claims(nbf=NOW + 3600)),
    "issued in the future": ("future", _claims(iat=NOW + 3600, exp=NOW + 7200)),
    "no time of issue": ("issued", _claims(iat=None)),
    "a logout token by its events": (
        "events", _claims(events={"http://schemas.openid.net/event/backchannel-logout": {}}),
    ),
    "bound to a key": ("bound", _claims(cnf={"jkt": "x"})),
    "no subject": ("subject", _claims(sub=None)),
    "an empty subject": ("subject", _claims(sub="")),
    "a subject with a line break": ("subject", _claims(sub="ann\nadmin")),
    "a subject with a lone surrogate": ("subject", _claims(sub="ann\ud800")),
    "a subject of a thousand characters": ("subject", _claims(sub="a" * 1000)),
    "a subject that is a number": ("subject", _claims(sub=7)),
    "sub twice": ("plain JSON", _text(lambda t: t[:-1] + ', "sub": "admin"}')),
    "exp twice": ("plain JSON", _text(lambda t: '{"exp": 1, ' + t[1:])),
    "a key twice, deep inside": (
        "plain JSON", _text(lambda t: t[:-1] + ', "x": {"a": 1, "a": 2}}'),
    ),
    "alg twice": ("plain JSON", _bare(b'{"alg":"RS256","alg":"none","kid":"one"}')),
    "nested a thousand deep": (
        "plain JSON", _text(lambda t: t[:-1] + ', "x": ' + "[" * 1000 + "]" * 1000 + "}")
    ),
    "claims that are a list": ("plain JSON", _text(lambda t: f"[{t}]")),
    "claims in UTF-16": (
        "plain JSON",
        lambda i, _: sign(
            i.keys[0], {"alg": "RS256", "kid": "one"}, json.dumps(i.claims()).encode("utf-16")
        ),
    ),
    "oversized": ("longer", _claims(filler="x" * MAX_JWT_CHARS)),
    "padded base64": ("no signed", lambda i, _: i.token() + "=="),
    "a fourth part": ("no signed", lambda i, _: i.token() + ".x"),
    "an encrypted token": ("no signed", lambda i, _: f"{i.token()}.{part(b'x')}.{part(b'x')}"),
    "two parts": ("no signed", lambda i, _: i.token().rpartition(".")[0]),
    "white space within": ("no signed", lambda i, _: i.token().replace(".", ". ", 1)),
    "the signature cut short": ("signature", lambda i, _: i.token()[:-6]),
    "claims changed after signing": (
        "signature",
        lambda i, _: ".".join(
            [i.token().split(".")[0], part(i.claims(sub="admin")), i.token().split(".")[2]]
        ),
    ),
    "RS256's signature called PS256": (
        "signature",
        lambda i, _: ".".join(
            [part({"alg": "PS256", "kid": "one"}), *sign(
                i.keys[0], {"alg": "RS256", "kid": "one"}, json.dumps(i.claims())
            ).split(".")[1:]]
        ),
    ),
    "an ECDSA signature of zeros": (
        "signature",
        lambda i, _: f"{part({'alg': 'ES256', 'kid': 'ec'})}.{part(i.claims())}.{part(bytes(64))}",
    ),
    "an access token as an ID token": (
        "audience", lambda i, _: i.token({"typ": "at+jwt"}),
    ),
    "an access token for another service": (
        "audience", lambda i, _: i.token({"typ": "at+jwt"}, aud="urn:another"),
    ),
}  # fmt: skip


@pytest.mark.cap("MAX_JWT_CHARS")
@pytest.mark.parametrize("name", CASES)
async def test_it_is_refused(name: str, there: Issuing, providers: Providers, evil: RSAKey) -> None:
    why, make = CASES[name]
    assert why in await refusal(providers, make(there, evil))
    assert not [path for path in there.asked if "evil" in path]
    # The honest token of the same issuer goes on being taken.
    assert (await providers.prove(there.token())).identity.key == "corp:ann"


@pytest.mark.parametrize("key", [0, 1, 2])
async def test_honest_tokens_of_each_kind_of_key_are_taken(
    key: int, there: Issuing, providers: Providers
) -> None:
    algorithm, signer = ("RS256", "ES256", "EdDSA")[key], there.keys[key]
    header = {"alg": algorithm, "kid": signer.kid}
    found = await providers.prove(sign(signer, header, json.dumps(there.claims())))
    assert found.identity.groups == {"corp/analysts"}


async def test_a_second_ecdsa_signature_over_the_same_claims_is_the_same_token(
    there: Issuing, providers: Providers
) -> None:
    """(r, s) and (r, n - s) both verify: a revoked token must not come back as another."""
    token = sign(there.keys[1], {"alg": "ES256", "kid": "ec"}, json.dumps(there.claims()))
    head, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    twin = f"{head}.{part(other)}"
    assert twin != token
    assert (await providers.prove(twin)).digest == (await providers.prove(token)).digest


async def test_tokens_are_not_taken_directly_unless_the_configuration_says_so(
    there: Issuing,
) -> None:
    from taskgate.identity.oidc.settings import DirectTokens

    closed = Providers([settings_for(there.issuer, direct=DirectTokens())], Clock())
    try:
        assert "not taken directly" in await refusal(closed, there.token())
        access = there.token({"typ": "at+jwt"}, aud="urn:gate")
        assert "audience" in await refusal(closed, access)
    finally:
        await closed.close()


async def test_one_providers_keys_do_not_sign_for_another(there: Issuing) -> None:
    with issuing(rsa_key("one")) as other:
        both = Providers(
            [settings_for(there.issuer), settings_for(other.issuer, name="partner")], Clock()
        )
        try:
            forged = sign(other.keys[0], {"alg": "RS256", "kid": "one"}, json.dumps(there.claims()))
            assert "signature" in await refusal(both, forged)
            assert (await both.prove(other.token())).identity.key == "partner:ann"
        finally:
            await both.close()
