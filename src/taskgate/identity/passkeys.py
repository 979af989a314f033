"""Passkeys (W3C Web Authentication, level 2): registered by local users, and used without a
password. The authenticator verifies the person itself, so that a passkey alone is two factors.

Challenges are good once, for `CHALLENGE_S`, and are kept in the store: a browser may
come back to another node. Attestation is not asked for: whose device it is says nothing here.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from fido2.server import Fido2Server
from fido2.utils import websafe_encode
from fido2.webauthn import (
    AttestedCredentialData,
    AuthenticationResponse,
    PublicKeyCredentialDescriptor,
    PublicKeyCredentialRpEntity,
    PublicKeyCredentialType,
    PublicKeyCredentialUserEntity,
    RegistrationResponse,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from taskgate.identity.local import ISSUER
from taskgate.identity.second_factors import hash_code, new_codes, tidy_label
from taskgate.model import limits
from taskgate.model.authentication import Authentication
from taskgate.model.errors import BadConfig, NotAuthenticated
from taskgate.model.factor import Challenge, Passkey
from taskgate.model.factor_ports import FactorStore
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.ids import new_id
from taskgate.model.ports import UserStore

METHOD: Final = "passkey"
# How long a browser may take to answer.
CHALLENGE_S: Final = 300.0
_REGISTER: Final = "register a passkey"
_SIGN_IN: Final = "sign in by a passkey"
_VERIFIED: Final = UserVerificationRequirement.REQUIRED
# COSE's ES256, EdDSA, RS256 and their like; a key is some hundred bytes.
_MAX_ID_BYTES: Final = 1_023


class CloneSuspected(NotAuthenticated):
    """The counter of a passkey did not go up: somebody may have a copy of it."""

    def __init__(self, user: str, factor_id: str) -> None:
        super().__init__(_REFUSED, hint=_REFUSED_HINT)
        self.user = user
        self.factor_id = factor_id


_REFUSED: Final = "sign-in failed: this passkey is not known here, or was not verified"
_REFUSED_HINT: Final = "try again, or sign in by your password and a code"


@dataclass(frozen=True, slots=True)
class Site:
    """The gateway as browsers see it. `rp_id` is the host of its public address, `origin` scheme,
    host and port."""

    rp_id: str
    origin: str

    @classmethod
    def of(cls, base_url: str) -> "Site | None":
        """None where browsers take no passkeys: without TLS (but for localhost), and for a bare
        address (WebAuthn section 5.1.3: the RP id is a domain)."""
        parts = urlsplit(base_url)
        host = (parts.hostname or "").lower()
        bare = not host or ":" in host or host.replace(".", "").isdigit()
        if bare or (parts.scheme != "https" and host != "localhost"):
            return None
        return cls(host, f"{parts.scheme}://{parts.netloc.lower()}")


class Passkeys:
    """Registers them, and signs people in by them."""

    def __init__(self, store: FactorStore, users: UserStore, site: Site) -> None:
        self._store = store
        self._users = users
        self._site = site
        entity = PublicKeyCredentialRpEntity(id=site.rp_id, name="taskgate")
        self._server = Fido2Server(entity, verify_origin=lambda given: given == site.origin)

    async def begin(self, user: str, now: float) -> dict[str, Any]:
        """What a browser needs to make a passkey for `user`: `navigator.credentials.create`'s
        options, bytes in base64url. Raises: StoreUnavailable."""
        known = await self._store.of(user)
        options, _ = self._server.register_begin(
            PublicKeyCredentialUserEntity(id=_handle(user), name=user, display_name=user),
            [
                PublicKeyCredentialDescriptor(
                    type=PublicKeyCredentialType.PUBLIC_KEY, id=one.credential_id
                )
                for one in known.passkeys
            ],
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=_VERIFIED,
            challenge=await self._ask(_REGISTER, user, now),
        )
        return dict(options)

    async def finish(
        self, user: str, label: str, answer: Mapping[str, Any], now: float
    ) -> tuple[str, ...]:
        """Keeps the passkey that a browser made. Recovery codes, if it is the user's first factor.

        Raises: BadConfig where the answer is not right; Conflict, OverLimit, StoreUnavailable.
        """
        label = tidy_label(label, "passkey")
        try:
            response = RegistrationResponse.from_dict(answer)
            challenge = response.response.client_data.challenge
            _ensure_same_origin(response.response.client_data)
            await self._spend(challenge, _REGISTER, user, now)
            made = self._server.register_complete(_state(challenge), response)
            credential = made.credential_data
            if credential is None or len(credential.credential_id) > _MAX_ID_BYTES:
                raise ValueError("no credential")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise BadConfig(
                "that is no passkey of this page, or it took too long",
                hint="begin again; the device must ask for a PIN, a finger or a face",
            ) from error
        first = not (await self._store.of(user)).demanded
        codes = new_codes() if first else ()
        passkey = Passkey(
            id=new_id("f"),
            user=user,
            label=label,
            credential_id=credential.credential_id,
            public_key=bytes(credential),
            sign_count=made.counter,
            added_at=now,
        )
        hashes = [hash_code(user, code) for code in codes]
        await self._store.add_passkey(passkey, hashes, limits.MAX_FACTORS_PER_USER)
        return codes

    async def begin_sign_in(self, now: float) -> dict[str, Any]:
        """Options of `navigator.credentials.get`; nobody is named in them. Raises:
        StoreUnavailable."""
        options, _ = self._server.authenticate_begin(
            None, user_verification=_VERIFIED, challenge=await self._ask(_SIGN_IN, "", now)
        )
        return dict(options)

    async def sign_in(self, answer: Mapping[str, Any], now: float) -> Identity:
        """Whoever the answer proves. Raises: NotAuthenticated, the same whatever was wrong, also
        as CloneSuspected; StoreUnavailable."""
        try:
            response = AuthenticationResponse.from_dict(answer)
            client = response.response.client_data
            _ensure_same_origin(client)
            await self._spend(client.challenge, _SIGN_IN, "", now)
            passkey = await self._store.passkey(response.raw_id)
            if passkey is None:
                raise ValueError("unknown")
            handle = response.response.user_handle or b""
            if not hmac.compare_digest(handle, _handle(passkey.user)):
                raise ValueError("another user's")
            self._server.authenticate_complete(
                _state(client.challenge), [AttestedCredentialData(passkey.public_key)], response
            )
            counter = response.response.authenticator_data.counter
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT) from error
        # Section 7.2 step 21: where there is a counter, it goes up.
        if (counter or passkey.sign_count) and counter <= passkey.sign_count:
            raise CloneSuspected(passkey.user, passkey.id)
        user = await self._users.get(passkey.user)
        if user is None or user.disabled or user.kind is not IdentityKind.HUMAN:
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        if not await self._store.use_passkey(passkey.id, passkey.sign_count, counter, now):
            raise CloneSuspected(passkey.user, passkey.id)
        return Identity(
            subject=user.name,
            issuer=ISSUER,
            kind=user.kind,
            groups=user.groups,
            authenticated_at=now,
            method=METHOD,
            authentication=Authentication(frozenset({"hwk", "user", "mfa"}), auth_time=now),
        )

    async def _ask(self, purpose: str, user: str, now: float) -> bytes:
        challenge = secrets.token_bytes(32)
        expires_at = now + CHALLENGE_S
        await self._store.ask(Challenge(_digest(challenge), purpose, user, expires_at), now)
        return challenge

    async def _spend(self, challenge: bytes, purpose: str, user: str, now: float) -> None:
        """Raises: ValueError where it was not asked here, or was answered already."""
        if not await self._store.spend(_digest(challenge), purpose, user, now):
            raise ValueError("not asked here")


def _ensure_same_origin(client: Any) -> None:
    # A page of another site must not have it done inside a frame.
    if client.cross_origin:
        raise ValueError("cross-origin")


def _state(challenge: bytes) -> dict[str, Any]:
    return {"challenge": websafe_encode(challenge), "user_verification": _VERIFIED}


def _digest(challenge: bytes) -> str:
    return hashlib.sha256(challenge).hexdigest()


def _handle(user: str) -> bytes:
    """Names nobody (section 14.6.1), and is the same for all of a user's passkeys."""
    return hashlib.sha256(b"taskgate user\0" + user.encode()).digest()
