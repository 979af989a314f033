"""Local users: names, passwords and groups that the gate keeps itself."""

import hashlib
import ipaddress
import re
import unicodedata
from typing import Final

from taskgate.identity.passwords import Passwords
from taskgate.identity.second_factors import SecondFactors
from taskgate.model.account import Backoff, User
from taskgate.model.authentication import Authentication
from taskgate.model.errors import BadConfig, NotAuthenticated, SecondFactorNeeded
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.ports import AttemptStore, UserStore

ISSUER: Final = "local"
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}\Z")
_GROUP = re.compile(r"[^\x00-\x1f\x7f]{1,255}\Z")

# Five wrong guesses are human; after them a second, two, four ... up to a quarter of an hour.
# One address may stand for an office, so it gets more before it waits.
PER_USER: Final = Backoff(free=5, first_s=1.0, most_s=900.0, forget_s=3600.0)
PER_SOURCE: Final = Backoff(free=30, first_s=1.0, most_s=900.0, forget_s=3600.0)

# One message for a wrong name, a wrong password or code, a disabled user and too many attempts.
_REFUSED: Final = (
    "sign-in failed: the name, the password or the code is wrong, or there were too many tries"
)
_REFUSED_HINT: Final = "after several failures each new try must wait longer, 15 minutes at most"


def normal_name(name: str) -> str:
    """One person, one spelling: `Ann`, `ann` and full-width letters name the same user.

    Raises: BadConfig where it cannot be a user's name.
    """
    normal = unicodedata.normalize("NFKC", name.strip()).casefold()
    if not _NAME.match(normal):
        raise BadConfig(
            "a user's name has 1 to 64 of a-z, 0-9, '.', '_', '@' and '-',"
            " and begins with a letter or digit"
        )
    return normal


class LocalUsers:
    """`identity.provider.IdentityProvider` over the gate's own users, and their upkeep."""

    issuer = ISSUER

    def __init__(
        self,
        users: UserStore,
        attempts: AttemptStore,
        passwords: Passwords,
        second: SecondFactors,
        *,
        enabled: bool = True,
    ) -> None:
        """Where not `enabled`, users can be kept and nobody signs in."""
        self._users = users
        self._attempts = attempts
        self._passwords = passwords
        self.second = second
        self.enabled = enabled

    async def sign_in(
        self, name: str, password: str, now: float, *, source: str = "", code: str = ""
    ) -> Identity:
        """See `IdentityProvider.sign_in`. Every path that gets past the wait does the same work:
        the same look-ups and one argon2 check, for a user that is not there as well. `code` is
        an authenticator app's, or a recovery code; it counts where the user has a second factor.

        Also raises: SecondFactorNeeded where the password is right, a code is needed and none was
        given. That try counts as a failure until one with the code succeeds.
        """
        self.ensure_enabled()
        try:
            normal: str | None = normal_name(name)
        except BadConfig:
            normal = None
        # Names are hashed: what people type there by mistake is often their password.
        user_key = _key("user", normal if normal is not None else name)
        source_key = _key("source", _network(source))
        wait_s = await self._attempts.begin({user_key: PER_USER, source_key: PER_SOURCE}, now)
        if wait_s > 0:
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        user = await self._users.get(normal if normal is not None else "")
        # Looked up for everyone, so that an agent's name takes no longer than another.
        principal = await self._users.get(user.acts_for if user is not None else "")
        factors = await self.second.of(user.name if user is not None else "")
        password_hash = user.password_hash if user is not None else None
        matched = await self._passwords.matches(password_hash, password)
        if user is None or not matched or user.disabled:
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        behind = None
        if user.kind is IdentityKind.AGENT:
            if principal is None or principal.disabled or principal.kind is IdentityKind.AGENT:
                raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
            behind = Identity(
                subject=principal.name,
                issuer=ISSUER,
                kind=principal.kind,
                groups=principal.groups,
                authenticated_at=now,
                method="agent",
            )
        method, amr = "password", {"pwd"}
        if factors.demanded:
            if not code:
                raise SecondFactorNeeded(
                    "the code of your authenticator app is needed too, or a recovery code",
                    hint="send both together; with a passkey alone, sign in at the console",
                )
            proved = await self.second.check(user.name, factors, code, now)
            if not proved:
                raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
            method = f"password+{proved}"
            # A recovery code is one that counts once, too (RFC 8176).
            amr.add("otp")
        await self._attempts.succeeded(user_key, (source_key,))
        if self._passwords.outdated(user.password_hash):
            renewed = await self._passwords.hash(password)
            await self._users.rehash(user.name, user.password_hash, renewed)
        return Identity(
            subject=user.name,
            issuer=ISSUER,
            kind=user.kind,
            groups=user.groups,
            authenticated_at=now,
            method=method,
            acts_for=behind,
            authentication=Authentication(frozenset(amr), auth_time=now),
        )

    def ensure_enabled(self) -> None:
        """Raises: NotAuthenticated where the configuration has switched local sign-in off."""
        if not self.enabled:
            raise NotAuthenticated(
                "local sign-in is switched off at this gateway",
                hint="sign in at your identity provider: taskgate login --oidc PROVIDER",
            )

    async def add(
        self,
        name: str,
        password: str,
        groups: frozenset[str],
        now: float,
        *,
        kind: IdentityKind = IdentityKind.HUMAN,
        acts_for: str = "",
    ) -> User:
        """A new user. An agent `acts_for` a local user who is none.

        Raises: Conflict if there is one already, BadConfig, OverLimit.
        """
        behind = normal_name(acts_for) if acts_for else ""
        if (kind is IdentityKind.AGENT) != bool(behind):
            raise BadConfig("an agent, and only an agent, acts for somebody")
        if behind:
            principal = await self._users.get(behind)
            if principal is None or principal.kind is IdentityKind.AGENT:
                raise BadConfig(f"there is no local user {behind} for whom an agent could act")
        password_hash = await self._hash(password)
        user = User(
            normal_name(name), password_hash, _checked(groups), now, kind=kind, acts_for=behind
        )
        await self._users.add(user)
        return user

    async def set_password(self, name: str, password: str, now: float) -> None:
        """Also ends the user's sign-ins and grants: whoever knew the old one is out.

        Raises: NotFound, BadConfig, OverLimit.
        """
        await self._users.set_password(normal_name(name), await self._hash(password), now)

    async def set_groups(self, name: str, groups: frozenset[str], now: float) -> None:
        """Also ends the user's sign-ins and grants if a group is taken away.

        Raises: NotFound, BadConfig.
        """
        await self._users.set_groups(normal_name(name), _checked(groups), now)

    async def set_disabled(self, name: str, disabled: bool, now: float) -> None:
        """Disabling also ends the user's sign-ins and grants. Raises: NotFound, BadConfig."""
        await self._users.set_disabled(normal_name(name), disabled, now)

    async def get(self, name: str) -> User | None:
        try:
            return await self._users.get(normal_name(name))
        except BadConfig:
            return None

    async def list(self) -> tuple[User, ...]:
        return await self._users.list()

    async def _hash(self, password: str) -> str:
        try:
            return await self._passwords.hash(password)
        except ValueError as error:
            raise BadConfig(str(error)) from None


def _checked(groups: frozenset[str]) -> frozenset[str]:
    for group in groups:
        if not _GROUP.match(group):
            raise BadConfig("a group's name has 1 to 255 characters, none of them control codes")
    return groups


def _network(source: str) -> str:
    """The part of an address that one customer of a network holds: an IPv6 host has 2**64."""
    try:
        address = ipaddress.ip_address(source.partition("%")[0])
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _key(kind: str, word: str) -> str:
    return f"{kind}:{hashlib.sha256(word.encode('utf-8', 'surrogatepass')).hexdigest()}"
