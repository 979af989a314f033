"""Passkeys against an authenticator that does as it likes: what a browser would never send."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from fido2 import cbor
from fido2.utils import websafe_decode, websafe_encode

from taskgate.identity.passkeys import CHALLENGE_S, CloneSuspected, Passkeys, Site
from taskgate.model import limits
from taskgate.model.account import User
from taskgate.model.errors import BadConfig, NotAuthenticated, OverLimit
from taskgate.model.factor import Challenge
from taskgate.store.open import Store
from tests.store.places import Place
from tests.store.samples import NOW

SITE = Site("gate.example.com", "https://gate.example.com:8443")
UP, UV, AT = 0x01, 0x04, 0x40


def _cose(key: ec.EllipticCurvePublicKey) -> dict[int, object]:
    """RFC 9053 section 7.1: ES256 on P-256."""
    numbers = key.public_numbers()
    return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}


@dataclass(slots=True)
class Device:
    """An authenticator and a browser in one, which lie where they are told to."""

    rp_id: str = SITE.rp_id
    origin: str = SITE.origin
    flags: int = UP | UV
    counter: int = 1
    cross_origin: bool = False
    credential_id: bytes = b"credential-1"
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def make(self, options: dict[str, Any]) -> dict[str, Any]:
        asked = options["publicKey"]
        self.handle = websafe_decode(asked["user"]["id"])
        public = cbor.encode(_cose(self.key.public_key()))
        size = len(self.credential_id).to_bytes(2)
        data = self._data(AT) + bytes(16) + size + self.credential_id + public
        attestation = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
        return self._answer(
            clientDataJSON=self._client("webauthn.create", asked["challenge"]),
            attestationObject=attestation,
        )

    def show(self, options: dict[str, Any], kind: str = "webauthn.get") -> dict[str, Any]:
        data = self._data()
        client = self._client(kind, options["publicKey"]["challenge"])
        signed = data + hashlib.sha256(client).digest()
        return self._answer(
            clientDataJSON=client,
            authenticatorData=data,
            signature=self.key.sign(signed, ec.ECDSA(SHA256())),
            userHandle=self.handle,
        )

    def _data(self, more: int = 0) -> bytes:
        rp = hashlib.sha256(self.rp_id.encode()).digest()
        return rp + bytes([self.flags | more]) + self.counter.to_bytes(4)

    def _client(self, kind: str, challenge: str) -> bytes:
        said = {"type": kind, "challenge": challenge, "origin": self.origin}
        return json.dumps({**said, "crossOrigin": self.cross_origin}).encode()

    def _answer(self, **parts: bytes) -> dict[str, Any]:
        name = websafe_encode(self.credential_id)
        shown = {key: websafe_encode(value) for key, value in parts.items()}
        return {"id": name, "rawId": name, "type": "public-key", "response": shown}


@dataclass(frozen=True, slots=True)
class World:
    store: Store
    passkeys: Passkeys

    async def registered(self, device: Device, user: str = "ann") -> Device:
        await self.passkeys.finish(user, "", device.make(await self.passkeys.begin(user, NOW)), NOW)
        return device

    async def refused(self, device: Device, at: float = NOW) -> str:
        options = await self.passkeys.begin_sign_in(NOW)
        with pytest.raises(NotAuthenticated) as caught:
            await self.passkeys.sign_in(device.show(options), at)
        return caught.value.message


@pytest.fixture
async def world(place: Place) -> AsyncIterator[World]:
    async with place.open() as store:
        for name in ("ann", "bob"):
            await store.users.add(User(name, "x", frozenset({"g"}), NOW))
        yield World(store, Passkeys(store.factors, store.users, SITE))


async def test_an_honest_one_signs_in_by_itself(world: World) -> None:
    device = await world.registered(Device())
    device.counter = 2
    identity = await world.passkeys.sign_in(
        device.show(await world.passkeys.begin_sign_in(NOW)), NOW + 1
    )
    assert (identity.key, identity.method) == ("local:ann", "passkey")
    assert identity.authentication.multi_factor
    assert identity.authentication.auth_time == NOW + 1
    assert identity.groups == {"g"}
    (kept,) = (await world.store.factors.of("ann")).passkeys
    assert (kept.sign_count, kept.last_used_at) == (2, NOW + 1)


LIES: dict[str, dict[str, Any]] = {
    "the person was not verified": {"flags": UP},
    "nobody was there": {"flags": UV},
    "another site's page": {"origin": "https://gate.example.com.evil.example"},
    "another port": {"origin": "https://gate.example.com"},
    "in clear": {"origin": "http://gate.example.com:8443"},
    "another site's key": {"rp_id": "evil.example"},
    "inside another site's frame": {"cross_origin": True},
    "somebody else's handle": {"handle": b"x" * 32},
    "no handle": {"handle": b""},
    "another key": {"key": ec.generate_private_key(ec.SECP256R1())},
    "a credential that is not known": {"credential_id": b"credential-2"},
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
async def test_a_lie_does_not_sign_in_and_all_are_refused_alike(
    world: World, lie: dict[str, Any]
) -> None:
    device = await world.registered(Device())
    device.counter = 2
    lying = await world.refused(replace(device, **lie))
    stale = await world.refused(device, NOW + CHALLENGE_S + 1)
    assert lying == stale


MADE_LIES = {
    name: LIES[name]
    for name in (
        "the person was not verified",
        "nobody was there",
        "another site's page",
        "another site's key",
        "inside another site's frame",
    )
}


@pytest.mark.parametrize("lie", MADE_LIES.values(), ids=MADE_LIES.keys())
async def test_a_lie_makes_no_passkey(world: World, lie: dict[str, Any]) -> None:
    with pytest.raises(BadConfig):
        await world.registered(Device(**lie))
    assert (await world.store.factors.of("ann")).passkeys == ()


async def test_an_answer_counts_once(world: World) -> None:
    device = await world.registered(Device(counter=0))
    answer = device.show(await world.passkeys.begin_sign_in(NOW))
    assert await world.passkeys.sign_in(answer, NOW)
    with pytest.raises(NotAuthenticated):
        await world.passkeys.sign_in(answer, NOW)


async def test_a_challenge_is_good_for_what_it_was_asked_for(world: World) -> None:
    device = await world.registered(Device())
    device.counter = 2
    to_register = await world.passkeys.begin("ann", NOW)
    with pytest.raises(NotAuthenticated):
        await world.passkeys.sign_in(device.show(to_register), NOW)
    to_sign_in = await world.passkeys.begin_sign_in(NOW)
    with pytest.raises(NotAuthenticated):
        await world.passkeys.sign_in(device.show(to_sign_in, "webauthn.create"), NOW)
    # Asked by ann, answered as bob.
    other = Device(credential_id=b"credential-3")
    made = other.make(await world.passkeys.begin("ann", NOW))
    with pytest.raises(BadConfig):
        await world.passkeys.finish("bob", "", made, NOW)


@pytest.mark.parametrize("counter", [0, 4, 5])
async def test_a_counter_that_does_not_go_up_may_be_a_copy(world: World, counter: int) -> None:
    device = await world.registered(Device(counter=5))
    device.counter = counter
    options = await world.passkeys.begin_sign_in(NOW)
    with pytest.raises(CloneSuspected) as caught:
        await world.passkeys.sign_in(device.show(options), NOW)
    assert caught.value.user == "ann"
    assert caught.value.message == await world.refused(Device(credential_id=b"no such"))


async def test_what_is_no_answer_at_all_is_refused_as_any(world: World) -> None:
    await world.passkeys.begin_sign_in(NOW)
    for answer in ({}, {"id": 1}, {"rawId": "!", "response": {}}, {"response": {"a": [1]}}):
        with pytest.raises(NotAuthenticated):
            await world.passkeys.sign_in(answer, NOW)
        with pytest.raises(BadConfig):
            await world.passkeys.finish("ann", "", answer, NOW)


async def test_a_passkey_is_one_person_s(world: World) -> None:
    device = await world.registered(Device())
    again = replace(device)
    options = await world.passkeys.begin("bob", NOW)
    with pytest.raises(Exception, match="registered already"):
        await world.passkeys.finish("bob", "", again.make(options), NOW)


@pytest.mark.cap("MAX_OPEN_CHALLENGES")
async def test_open_challenges_are_bounded_and_make_room_when_they_are_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_OPEN_CHALLENGES", 2)
    for number in range(2):
        await world.store.factors.ask(Challenge(str(number), "p", "", NOW + 10), NOW)
    with pytest.raises(OverLimit):
        await world.passkeys.begin_sign_in(NOW)
    assert await world.passkeys.begin_sign_in(NOW + 11)


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("https://gate.example.com:8443", SITE),
        ("https://GATE.example.com:8443", SITE),
        ("https://gate.example.com", Site("gate.example.com", "https://gate.example.com")),
        ("http://localhost:8443", Site("localhost", "http://localhost:8443")),
        ("http://gate.example.com", None),
        ("https://10.0.0.1:8443", None),
        ("https://[::1]:8443", None),
    ],
)
def test_passkeys_belong_to_the_public_address(url: str, site: Site | None) -> None:
    assert Site.of(url) == site
