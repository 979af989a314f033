"""Second factors of local users: authenticator apps and recovery codes.

A user who has one that counts (an app that was confirmed, or a passkey) signs in by it, and a
password alone is not enough any more.
"""

import secrets
from dataclasses import dataclass, field
from typing import Final, Protocol

from taskgate.identity import totp
from taskgate.identity.tokens import hash_token
from taskgate.model import limits
from taskgate.model.errors import BadConfig, Conflict, Denied, NotFound
from taskgate.model.factor import Authenticator, Factors
from taskgate.model.factor_ports import FactorStore
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from taskgate.model.resource import SecretRef
from taskgate.model.secret import Secret

# Crockford's base 32: 16 of its digits are 80 random bits.
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_CODE_CHARS: Final = 16
_MAX_TYPED: Final = 64
MAX_LABEL_CHARS: Final = 100
# Given with the first factor.
RECOVERY_CODES: Final = 10
# Whoever changes how they sign in must have signed in within this.
RECENT_SIGN_IN_S: Final = 900.0


class Vault(Protocol):
    """Keeps secrets sealed under the master key."""

    async def set(self, name: str, value: Secret, *, by: str, now: float) -> None: ...

    async def get(self, ref: SecretRef) -> Secret: ...

    async def remove(self, name: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An app that waits to be confirmed. `secret` (base 32) and `uri` are shown once, here."""

    authenticator: Authenticator
    secret: str = field(repr=False)
    uri: str = field(repr=False)


class SecondFactors:
    """Enrols, checks and removes them. Who may is for the caller to judge."""

    def __init__(self, store: FactorStore, vault: Vault, issuer: str) -> None:
        """`issuer` is what apps show beside the user's name."""
        self._store = store
        self._vault = vault
        self._issuer = issuer

    async def of(self, user: str) -> Factors:
        """Raises: StoreUnavailable."""
        return await self._store.of(user)

    async def enrol(self, user: str, label: str, now: float) -> Enrolment:
        """A new app for a user; it counts once `confirm` has seen a code of it.

        Raises: BadConfig, NotFound, OverLimit, StoreUnavailable.
        """
        one = Authenticator(new_id("f"), user, tidy_label(label, "authenticator app"), now)
        for begun in (await self._store.of(user)).authenticators:
            if not begun.confirmed:
                await self.remove(user, begun.id)
        secret = secrets.token_bytes(totp.SECRET_BYTES)
        await self._store.add_authenticator(one, limits.MAX_FACTORS_PER_USER)
        await self._vault.set(_sealed_as(one.id), Secret(secret.hex()), by=f"local:{user}", now=now)
        return Enrolment(one, totp.base32(secret), totp.enrolment_uri(secret, user, self._issuer))

    async def confirm(self, user: str, factor_id: str, code: str, now: float) -> tuple[str, ...]:
        """Lets an enrolled app count from now on. Recovery codes, if it is the user's first
        factor; they are shown once, here.

        Raises: NotFound; Conflict where the code is wrong, or was used; StoreUnavailable.
        """
        found = await self._store.of(user)
        one = next((a for a in found.authenticators if a.id == factor_id), None)
        if one is None or one.confirmed:
            raise NotFound(
                f"you have no app {factor_id} that waits to be confirmed",
                hint="begin again: taskgate mfa enroll",
            )
        step = totp.matching_step(await self._secret(one), _tidy(code), now)
        codes = () if found.demanded else new_codes()
        hashes = [hash_code(user, each) for each in codes]
        if step is None or not await self._store.confirm_authenticator(one.id, step, now, hashes):
            raise Conflict(
                "that is not the code which the app shows now",
                hint="the clock of the app's device must be right; try the next code",
            )
        return codes

    async def check(self, user: str, found: Factors, typed: str, now: float) -> str:
        """What `typed` proves: `otp` for an app's code, `recovery` for a recovery code; both are
        spent by it. Empty where it proves nothing.

        Raises: StoreUnavailable.
        """
        code = _tidy(typed)
        if len(code) == totp.DIGITS and code.isascii() and code.isdigit():
            for one in found.authenticators:
                if not one.confirmed:
                    continue
                step = totp.matching_step(await self._secret(one), code, now)
                if step is not None and await self._store.use_step(one.id, step, now):
                    return "otp"
            return ""
        if len(code) == _CODE_CHARS and await self._store.use_code(user, hash_code(user, code)):
            return "recovery"
        return ""

    async def renew_codes(self, user: str) -> tuple[str, ...]:
        """New recovery codes in place of all before; shown once, here.

        Raises: Conflict for somebody without a factor that counts; StoreUnavailable.
        """
        if not (await self._store.of(user)).demanded:
            raise Conflict(
                "recovery codes stand in for a second factor, and there is none",
                hint="taskgate mfa enroll",
            )
        codes = new_codes()
        await self._store.replace_codes(user, [hash_code(user, code) for code in codes])
        return codes

    async def remove(self, user: str, factor_id: str) -> None:
        """Raises: NotFound, StoreUnavailable."""
        if not await self._store.remove(user, factor_id):
            raise NotFound(
                f"there is no second factor {factor_id} of yours", hint="taskgate mfa list"
            )
        await self._vault.remove(_sealed_as(factor_id))

    async def reset(self, user: str, now: float) -> int:
        """Takes all away and cuts the user off: sign-ins, grants, live sessions. How many there
        were. Raises: NotFound, StoreUnavailable."""
        gone = await self._store.reset(user, now, "the second factors were reset")
        for factor_id in gone:
            await self._vault.remove(_sealed_as(factor_id))
        return len(gone)

    async def _secret(self, one: Authenticator) -> bytes:
        try:
            sealed = await self._vault.get(SecretRef("store", _sealed_as(one.id)))
        except BadConfig:
            # Its secret was lost with the master key, or never written: no code is right.
            return secrets.token_bytes(totp.SECRET_BYTES)
        return bytes.fromhex(sealed.reveal())


def ensure_may_change(identity: Identity, found: Factors, now: float) -> None:
    """That this sign-in is one by which its user may change how they sign in: a token that was
    stolen, or forgotten, must not let a stranger move in.

    Raises: Denied.
    """
    if now - identity.authenticated_at > RECENT_SIGN_IN_S:
        raise Denied(
            "changing how you sign in needs a sign-in of the last"
            f" {RECENT_SIGN_IN_S / 60:g} minutes",
            rule="mfa",
            hint="sign in again: taskgate login",
        )
    if found.demanded and identity.method == "password":
        raise Denied(
            "this sign-in is from before the second factor",
            rule="mfa",
            hint="sign in again, with it: taskgate login",
        )


def new_codes() -> tuple[str, ...]:
    """Fresh recovery codes as people write them down."""
    codes = []
    for _ in range(RECOVERY_CODES):
        digits = "".join(secrets.choice(_DIGITS) for _ in range(_CODE_CHARS))
        codes.append("-".join(digits[at : at + 4] for at in range(0, _CODE_CHARS, 4)))
    return tuple(codes)


def hash_code(user: str, code: str) -> str:
    """Bound to the user. 80 random bits need no slow hash."""
    return hash_token(f"recovery\0{user}\0{_tidy(code)}")


def tidy_label(label: str, otherwise: str) -> str:
    """Raises: BadConfig."""
    tidy = " ".join(label.split()) or otherwise
    if len(tidy) > MAX_LABEL_CHARS or not tidy.isprintable():
        raise BadConfig(f"a label has {MAX_LABEL_CHARS} printable characters at most")
    return tidy


def _tidy(typed: str) -> str:
    """Spaces and hyphens are how people group digits; letters that look like digits are those."""
    plain = typed[:_MAX_TYPED].replace(" ", "").replace("-", "").lower()
    return plain.replace("o", "0").replace("i", "1").replace("l", "1")


def _sealed_as(factor_id: str) -> str:
    return f"taskgate/totp/{factor_id}"
