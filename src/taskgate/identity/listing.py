"""What a directory says of somebody at this moment, laid over what they signed in with."""

from collections.abc import Collection
from dataclasses import replace
from typing import Protocol

from taskgate.identity.local import ISSUER, normal_name
from taskgate.model.errors import BadConfig, NotAuthenticated
from taskgate.model.identity import Identity
from taskgate.model.ports import DirectoryStore

_REFUSED = "the directory has shut this person out"
_REFUSED_HINT = "whoever keeps the directory can let them in again"


class Listing(Protocol):
    """Looks at each identity again, whenever something rests on it."""

    async def current(self, identity: Identity) -> Identity:
        """Raises: NotAuthenticated for somebody who no longer counts; StoreUnavailable."""
        ...


class NobodyLocal:
    """Where local sign-in is switched off, no local user counts any more: not by a sign-in or a
    grant from before, and not behind an agent."""

    def __init__(self, further: Listing | None = None) -> None:
        self._further = further

    async def current(self, identity: Identity) -> Identity:
        """See `Listing`."""
        one: Identity | None = identity
        while one is not None:
            if one.issuer == ISSUER:
                raise NotAuthenticated(
                    "local users are switched off at this gateway",
                    hint="sign in at your identity provider: taskgate login --oidc PROVIDER",
                )
            one = one.acts_for
        return identity if self._further is None else await self._further.current(identity)


class Directory:
    """Groups kept by SCIM count at each check, and whoever is not active there is nobody here.

    Groups are only ever added here: taking one away cuts the person off (`DirectoryStore`), so
    that nothing goes on that rested on it.
    """

    def __init__(self, store: DirectoryStore, issuers: Collection[str], prefix: str = "") -> None:
        """`issuers` are those of `Identity.issuer` whose people the directory is about; `prefix`
        stands before its groups' names, so that it names no group of somebody else's."""
        self._store = store
        self._prefix = prefix
        self.issuers = frozenset(issuers)

    async def current(self, identity: Identity) -> Identity:
        """The identity, and everyone behind it, with the groups of now.

        Somebody the directory does not know is as their provider said. Raises: NotAuthenticated
        for somebody who is known and not active; StoreUnavailable.
        """
        behind = identity.acts_for
        if behind is not None:
            now_behind = await self.current(behind)
            if now_behind is not behind:
                identity = replace(identity, acts_for=now_behind)
        if identity.issuer not in self.issuers:
            return identity
        listed = await self._store.listed(identity.subject)
        if listed is None:
            return identity
        if not listed.active:
            raise NotAuthenticated(_REFUSED, hint=_REFUSED_HINT)
        groups = frozenset(self._prefix + name for name in listed.groups)
        if groups <= identity.groups:
            return identity
        return replace(identity, groups=identity.groups | groups)

    def subject_of(self, name: str) -> str:
        """The `Identity.subject` that a directory's name for somebody means here. Local names
        have one spelling; a name that no local user can have stays as it is."""
        if ISSUER not in self.issuers:
            return name
        try:
            return normal_name(name)
        except BadConfig:
            return name
