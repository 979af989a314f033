"""What a provider does to the directory by SCIM, and what follows for the people in it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from taskgate.gateway.leaving import SCIM, Leaving, Offboarded
from taskgate.gateway.records import Records
from taskgate.gateway.secrets import Secrets
from taskgate.identity.grants import Grants
from taskgate.identity.listing import Directory
from taskgate.identity.scim.faults import ScimFault, bad_value
from taskgate.identity.scim.patch import patched
from taskgate.identity.scim.schemas import GROUPS, USERS, cleaned
from taskgate.model import limits
from taskgate.model.clock import Clock
from taskgate.model.directory import DirectoryGroup, DirectoryUser
from taskgate.model.errors import BadConfig, Conflict, NotAuthenticated, NotFound, NotRecorded
from taskgate.model.event import EventKind
from taskgate.model.ports import DirectoryStore
from taskgate.model.resource import SecretRef

_LEFT: Final = "deactivated by the directory"
_DELETED: Final = "removed from the directory"
_OUT_OF_GROUP: Final = "taken out of a group by the directory"


class ScimDoor:
    """Checks the provider's bearer secret, read anew each time so that it can be changed."""

    def __init__(self, secrets: Secrets, ref: SecretRef, subject: str) -> None:
        """`subject` is the SCIM attribute that is people's subject: userName or externalId."""
        self._secrets = secrets
        self._ref = ref
        self.subject = subject

    async def ensure(self) -> None:
        """Raises: BadConfig where there is no secret, or one that could be guessed."""
        secret = await self._secrets.get(self._ref)
        if len(secret.reveal_bytes().strip()) < limits.MIN_SCIM_TOKEN_CHARS:
            raise BadConfig(
                f"the SCIM token is shorter than {limits.MIN_SCIM_TOKEN_CHARS} characters",
                hint="make one with: openssl rand -hex 32",
            )

    async def check(self, token: str) -> None:
        """Raises: NotAuthenticated; BadConfig where the secret is gone."""
        secret = await self._secrets.get(self._ref)
        wanted = hashlib.sha256(secret.reveal_bytes().strip()).digest()
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        if not hmac.compare_digest(wanted, given):
            raise NotAuthenticated("the SCIM token is not the one this gateway expects")


@dataclass(frozen=True, slots=True)
class Changed:
    """A user after a change, its groups, and what ended if it was shut out by this change."""

    user: DirectoryUser
    groups: tuple[DirectoryGroup, ...]
    left: Offboarded | None = None


class Provisioning:
    """Users and groups as SCIM changes them. One change at a time on this node; between nodes the
    second of two at once is a Conflict, and the provider tries again."""

    def __init__(
        self,
        store: DirectoryStore,
        directory: Directory,
        leaving: Leaving,
        grants: Grants,
        records: Records,
        clock: Clock,
    ) -> None:
        self._store = store
        self._directory = directory
        self._leaving = leaving
        self._grants = grants
        self._records = records
        self._clock = clock
        self._one_change = asyncio.Lock()

    # Users.

    async def users(self) -> tuple[DirectoryUser, ...]:
        return await self._store.users()

    async def user(self, user_id: str) -> Changed:
        """Raises: NotFound."""
        return Changed(await self._user(user_id), await self._store.groups_of(user_id))

    async def add_user(self, body: Any, subject_from: str) -> Changed:
        """Raises: ScimFault, Conflict, OverLimit, NotRecorded."""
        attributes = {"active": True, **cleaned(USERS, body)}
        now = self._clock.now()
        async with self._one_change:
            fresh = DirectoryUser("", "", "", "", True, {}, now, now, version=0)
            made = self._with(replace(fresh, id=str(uuid.uuid4())), attributes, subject_from)
            await self._log("user added", made.id, made.user_name)
            await self._store.add_user(made)
            left = await self._follow_up(None, made)
        return Changed(made, (), left)

    async def replace_user(self, user_id: str, body: Any, subject_from: str) -> Changed:
        """Raises: ScimFault, NotFound, Conflict, NotRecorded."""
        attributes = cleaned(USERS, body)
        async with self._one_change:
            before = await self._user(user_id)
            whole = {"active": before.active, **attributes}
            return await self._change(before, whole, subject_from)

    async def patch_user(self, user_id: str, body: Any, subject_from: str) -> Changed:
        """Raises: ScimFault, NotFound, Conflict, NotRecorded."""
        async with self._one_change:
            before = await self._user(user_id)
            after = await asyncio.to_thread(patched, USERS, before.attributes, body)
            return await self._change(before, after, subject_from)

    async def remove_user(self, user_id: str) -> Offboarded | None:
        """Raises: NotFound, NotRecorded."""
        async with self._one_change:
            before = await self._user(user_id)
            left = await self._leave(before, _DELETED)
            await self._log("user removed", before.id, before.user_name)
            await self._store.remove_user(user_id)
            return left

    # Groups.

    async def groups(self) -> tuple[DirectoryGroup, ...]:
        return await self._store.groups()

    async def group(self, group_id: str) -> DirectoryGroup:
        """Raises: NotFound."""
        found = await self._store.group(group_id)
        if found is None:
            raise NotFound(f"there is no group {group_id}")
        return found

    async def add_group(self, body: Any) -> DirectoryGroup:
        """Raises: ScimFault, Conflict, OverLimit, NotRecorded."""
        attributes = cleaned(GROUPS, body)
        now = self._clock.now()
        async with self._one_change:
            fresh = DirectoryGroup(str(uuid.uuid4()), "", "", frozenset(), now, now, version=0)
            made = self._group_with(fresh, attributes)
            await self._log("group added", made.id, made.display_name)
            await self._known_members(self._store.add_group(made))
            return made

    async def replace_group(self, group_id: str, body: Any) -> DirectoryGroup:
        """Raises: ScimFault, NotFound, Conflict, NotRecorded."""
        attributes = cleaned(GROUPS, body)
        async with self._one_change:
            return await self._change_group(await self.group(group_id), attributes)

    async def patch_group(self, group_id: str, body: Any) -> DirectoryGroup:
        """Raises: ScimFault, NotFound, Conflict, NotRecorded."""
        async with self._one_change:
            before = await self.group(group_id)
            # Thousands of operations on as many members take a while; others go on meanwhile.
            after = await asyncio.to_thread(patched, GROUPS, group_attributes(before), body)
            return await self._change_group(before, after)

    async def remove_group(self, group_id: str) -> None:
        """Its members lose it, and are cut off. Raises: NotFound, NotRecorded."""
        async with self._one_change:
            before = await self.group(group_id)
            try:
                await self._log("group removed", before.id, before.display_name)
            finally:
                await self._store.remove_group(
                    group_id, self._directory.issuers, self._clock.now(), _OUT_OF_GROUP
                )
                await self._grants.poll()

    # What these have in common.

    async def _user(self, user_id: str) -> DirectoryUser:
        found = await self._store.user(user_id)
        if found is None:
            raise NotFound(f"there is no user {user_id}")
        return found

    async def _change(
        self, before: DirectoryUser, attributes: Mapping[str, Any], subject_from: str
    ) -> Changed:
        after = self._with(before, attributes, subject_from)
        left = None
        if before.active and not after.active:
            # First, and whatever becomes of the rest: it must not wait for anything.
            left = await self._leave(before, _LEFT)
        elif before.subject != after.subject:
            # The one who came in by the old name is nobody here any more.
            left = await self._leave(before, "renamed by the directory")
        await self._log("user changed", after.id, after.user_name)
        await self._store.replace_user(after)
        followed = await self._follow_up(before, after)
        left = left or followed
        return Changed(after, await self._store.groups_of(after.id), left)

    async def _follow_up(
        self, before: DirectoryUser | None, after: DirectoryUser
    ) -> Offboarded | None:
        fresh = before is None or before.subject != after.subject
        if not after.active:
            # Known as shut out before anybody came in by this name: barred all the same.
            return await self._leave(after, _LEFT) if fresh else None
        if fresh or (before is not None and not before.active):
            # Only what the directory shut, the directory opens.
            await self._leaving.reinstate(self._keys(after), "active again", None, only_by=SCIM)
        return None

    async def _leave(self, user: DirectoryUser, why: str) -> Offboarded:
        return await self._leaving.offboard(self._keys(user), why, None, SCIM)

    def _keys(self, user: DirectoryUser) -> frozenset[str]:
        return frozenset(f"{issuer}:{user.subject}" for issuer in self._directory.issuers)

    def _with(
        self, user: DirectoryUser, attributes: Mapping[str, Any], subject_from: str
    ) -> DirectoryUser:
        """`user` with what the provider says of it now."""
        named = str(attributes.get(subject_from) or "").strip()
        if not named:
            raise bad_value(f"{subject_from} is required: it is who signs in")
        for name in ("userName", "externalId"):
            if not str(attributes.get(name) or "").isprintable():
                raise bad_value(f"{name} holds control codes")
        # What is not said stays as it was: leaving the word out lets nobody in again.
        active = bool(attributes.get("active", user.active))
        return replace(
            user,
            user_name=str(attributes["userName"]),
            external_id=str(attributes.get("externalId") or ""),
            subject=self._directory.subject_of(named),
            active=active,
            attributes=attributes,
            changed_at=self._clock.now(),
            version=user.version + 1,
        )

    def _group_with(self, group: DirectoryGroup, attributes: Mapping[str, Any]) -> DirectoryGroup:
        name = str(attributes["displayName"])
        if not name.isprintable() or not name.strip() or len(name) > 255:
            raise bad_value("a group's name has 1 to 255 characters, none of them control codes")
        members = frozenset(
            str(one["value"]) for one in attributes.get("members", ()) if one.get("value")
        )
        external_id = str(attributes.get("externalId") or "")
        if not all(one.isprintable() for one in (external_id, *members)):
            raise bad_value("an id holds control codes")
        if len(members) > limits.MAX_SCIM_MEMBERS:
            raise bad_value(f"a group has {limits.MAX_SCIM_MEMBERS} members at most")
        return replace(
            group,
            display_name=name,
            external_id=external_id,
            members=members,
            changed_at=self._clock.now(),
            version=group.version + 1,
        )

    async def _change_group(
        self, before: DirectoryGroup, attributes: Mapping[str, Any]
    ) -> DirectoryGroup:
        after = self._group_with(before, attributes)
        try:
            await self._log(
                "group changed",
                after.id,
                after.display_name,
                added=sorted(after.members - before.members)[:100],
                removed=sorted(before.members - after.members)[:100],
            )
        except NotRecorded:
            # Taking rights away never waits for anything; giving any must be recorded.
            await self._put(
                replace(
                    after,
                    display_name=before.display_name,
                    external_id=before.external_id,
                    members=before.members & after.members,
                )
            )
            raise
        await self._put(after)
        return after

    async def _put(self, group: DirectoryGroup) -> None:
        await self._known_members(
            self._store.replace_group(group, self._directory.issuers, _OUT_OF_GROUP)
        )
        await self._grants.poll()

    async def _known_members(self, work: Any) -> None:
        try:
            await work
        except NotFound as error:
            if "member" in error.message:
                raise bad_value(error.message) from None
            raise

    async def _log(self, change: str, id_: str, name: str, **more: object) -> None:
        facts = {"object": name[:200], "id": id_, "reason": change, "door": SCIM, **more}
        await self._records.log(EventKind.DIRECTORY_CHANGED, None, facts)


def group_attributes(group: DirectoryGroup) -> dict[str, Any]:
    """A group as `schemas.cleaned` would make it."""
    found: dict[str, Any] = {"displayName": group.display_name}
    if group.external_id:
        found["externalId"] = group.external_id
    if group.members:
        found["members"] = [{"value": one, "type": "User"} for one in sorted(group.members)]
    return found


def fault_of(error: Exception) -> ScimFault | None:
    """One of our own errors in SCIM's form, where SCIM has a word for it."""
    if isinstance(error, ScimFault):
        return error
    if isinstance(error, Conflict):
        return ScimFault(error.message, status=409, kind="uniqueness")
    return None
