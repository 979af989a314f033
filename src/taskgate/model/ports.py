"""What the inner layers ask of a state store, one small interface a subject.

Every method may raise StoreUnavailable: the store is locked, gone or too slow, nothing was
changed, and the caller refuses what it was about to do. Times are seconds since the epoch.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from taskgate.model.account import Backoff, Login, User
from taskgate.model.approval import Approval, ApprovalState, StandingApproval, Vote
from taskgate.model.audit import AuditEntry, AuditQuery
from taskgate.model.directory import DirectoryGroup, DirectoryUser, Listed
from taskgate.model.grant import Grant, SessionInfo
from taskgate.model.leaving import Departure, Ended, Leaver
from taskgate.model.resource import KnownHost
from taskgate.model.secret import SealedSecret
from taskgate.model.token import GrantSelector, PolicyVersion, Revocation, Token
from taskgate.model.usage import DormantGrant, IdlePerson, NewPlace, Place, UseSelector


class UserStore(Protocol):
    """Local users. What takes rights away also ends the person's sign-ins and grants, in the
    same transaction, so that no crash can leave one without the other."""

    async def add(self, user: User) -> None:
        """Raises: Conflict if the name is taken."""
        ...

    async def get(self, name: str) -> User | None: ...

    async def list(self) -> tuple[User, ...]:
        """All users, by name."""
        ...

    async def set_password(self, name: str, password_hash: str, at: float) -> None:
        """Replaces the hash and cuts the person off. Raises: NotFound."""
        ...

    async def rehash(self, name: str, old_hash: str, new_hash: str) -> bool:
        """The same password under newer parameters; False if it changed in between."""
        ...

    async def set_groups(self, name: str, groups: frozenset[str], at: float) -> None:
        """Replaces the groups; cuts the person off if any was taken away. Raises: NotFound."""
        ...

    async def set_disabled(self, name: str, disabled: bool, at: float) -> None:
        """Disabling cuts the person off. Raises: NotFound."""
        ...


class AttemptStore(Protocol):
    """Failed sign-ins in a row, by key (a user or a source; the caller hashes it)."""

    async def begin(self, limits: Mapping[str, Backoff], now: float) -> float:
        """Counts one attempt against every key as if it had failed, unless one must still wait.

        Counting first means that a thousand guesses at once are not a thousand free guesses.
        Returns the seconds to wait; 0 means go ahead. Atomic.
        """
        ...

    async def succeeded(self, clear: str, forgive: Collection[str]) -> None:
        """Forgets the failures of key `clear`, and takes one off each key of `forgive`."""
        ...


class LoginStore(Protocol):
    """API sign-ins."""

    async def add(self, login: Login, most: int) -> bool:
        """Keeps it, and drops the person's oldest beyond `most`.

        False if the person was cut off since they authenticated.
        """
        ...

    async def get(self, token_hash: str) -> Login | None: ...

    async def end(self, token_hash: str) -> None: ...

    async def forget(self, now: float) -> None:
        """Drops those that have expired."""
        ...


class OnceStore(Protocol):
    """What is good once, on every node and over restarts. Names are the caller's, hashed."""

    async def add(self, name: str, value: bytes, until: float, now: float) -> bool:
        """Keeps `value` under `name` until then; False if the name is there already.

        Raises: OverLimit when `limits.MAX_ONCE` are kept.
        """
        ...

    async def take(self, name: str, now: float) -> bytes | None:
        """The value, for exactly one caller; None if it is not there, or over."""
        ...


class RevocationReader(Protocol):
    """The one sequence of revocations, read without an event loop by a connection of its own.

    A call that takes longer than about `limits.REVOCATION_BLIND_S` raises StoreUnavailable, as
    does any fault; the reader is then to be closed, and another one opened.
    """

    def last(self) -> int:
        """The newest sequence number; 0 if there is none."""
        ...

    def after(self, sequence: int, limit: int) -> tuple[Revocation, ...]:
        """In order, without gaps: whoever follows the sequence misses none."""
        ...

    def close(self) -> None: ...


class GrantStore(Protocol):
    """Grants, their tokens, and the one sequence of revocations that all nodes follow."""

    async def add(self, grant: Grant, token: Token, most: int) -> bool:
        """Keeps a grant with its first token.

        False if the person has left, or was cut off since they authenticated, or the parent
        grant is no longer live. Raises: OverLimit if the person behind it already has `most` live
        grants, those of agents that act for them included.
        """
        ...

    async def use(self, grant: Grant, now: float) -> bool:
        """Takes one use off the grant and off everything above it that counts uses, all or none;
        False if one of them has none left. Atomic."""
        ...

    async def add_token(self, token: Token, most: int) -> bool:
        """One more token for a live grant; False if the grant is not live at `issued_at`.
        Raises: OverLimit."""
        ...

    async def get(self, grant_id: str) -> Grant | None: ...

    async def by_token(self, token_hash: str) -> tuple[Grant, Token] | None:
        """The grant a token stands for, also a revoked one; None once it has lapsed."""
        ...

    async def find(
        self,
        selector: GrantSelector,
        live_at: float | None,
        limit: int,
        *,
        tasks: Collection[str] | None = None,
    ) -> tuple[Grant, ...]:
        """Newest first; an empty selector means all. `live_at` leaves out what is over then.
        `tasks` are patterns of task names; None for all."""
        ...

    async def revoke(self, selector: GrantSelector, at: float, why: str) -> tuple[Revocation, ...]:
        """Ends every live grant that fits, and what was delegated from it. An empty selector is
        a mistake and raises ValueError."""
        ...

    async def cut_off(
        self, person: str, at: float, why: str, *, grants_too: bool = True
    ) -> tuple[Revocation, ...]:
        """Revokes all the person's grants (unless told not to), ends their sign-ins, and refuses
        whatever rests on an authentication of `at` or before. `person` may be any of
        `Identity.rests_on`."""
        ...

    async def lapse(self, now: float) -> None:
        """Marks what has expired, for good: a clock turned back later does not revive it."""
        ...

    def revocation_reader(self) -> RevocationReader:
        """For the thread that calls this, and for no other. Raises: StoreUnavailable."""
        ...


class ApprovalStore(Protocol):
    """Held requests, the votes on them, and standing approvals."""

    async def add(self, approval: Approval, node: str) -> bool:
        """False if the grant is not live at `asked_at`."""
        ...

    async def get(self, approval_id: str) -> Approval | None: ...

    async def find(
        self, state: ApprovalState | None, limit: int, *, asked_after: float = 0.0
    ) -> tuple[Approval, ...]:
        """Newest first."""
        ...

    async def waiting(self, limit: int) -> tuple[str, ...]:
        """The ids of all that wait, on any node, oldest first."""
        ...

    async def vote(
        self,
        approval_id: str,
        vote: Vote,
        settle: Callable[[Approval], tuple[ApprovalState, StandingApproval | None]],
        authenticated_at: float | None = None,
    ) -> Approval:
        """Adds a vote and lets `settle` judge the whole, in one transaction.

        `settle` gets the approval with the new vote in it. It must be pure, and may raise: then
        nothing is kept. Raises: NotFound; Conflict if it is no longer waiting, `vote.at` is not
        before its end, its grant is not live, this person has voted, or was cut off since
        `authenticated_at`.
        """
        ...

    async def close(self, approval_id: str, state: ApprovalState, at: float, why: str) -> bool:
        """From WAITING to `state`; False if someone was first."""
        ...

    async def close_grant(self, grant_id: str, at: float, why: str) -> tuple[str, ...]:
        """Cancels all that wait under a grant; their ids."""
        ...

    async def close_node(self, node: str, at: float, why: str) -> tuple[str, ...]:
        """Cancels all that a node left waiting when it died; their ids."""
        ...

    async def expire(self, now: float) -> tuple[str, ...]:
        """Closes all whose time is over; their ids."""
        ...

    async def take(
        self, approval_id: str, session_id: str, digest: str, policy_version: str, now: float
    ) -> bool:
        """Spends an approval: True for exactly one caller, and only if it is APPROVED for this
        session, digest and policy version, and its grant is live."""
        ...

    async def use_standing(
        self, grant_id: str, resource: str, shape: str, rule: str, policy_version: str, now: float
    ) -> StandingApproval | None:
        """Takes one use off a standing approval that fits, atomically; what is left of it."""
        ...

    async def find_standing(self, now: float, limit: int) -> tuple[StandingApproval, ...]: ...

    async def end_standing(self, standing_id: str, at: float) -> bool: ...


class SessionStore(Protocol):
    """Client connections, live and past."""

    async def add(self, session: SessionInfo, node: str) -> None: ...

    async def end(self, session_id: str, at: float, why: str) -> None:
        """Once only: the first end counts."""
        ...

    async def end_node(self, node: str, at: float, why: str) -> tuple[str, ...]:
        """Ends all that a node left open when it died; their ids."""
        ...

    async def get(self, session_id: str) -> SessionInfo | None: ...

    async def find(
        self,
        *,
        person: str | None = None,
        task: str | None = None,
        live: bool | None = None,
        limit: int = 100,
        tasks: Collection[str] | None = None,
    ) -> tuple[SessionInfo, ...]:
        """Newest first. `tasks` are patterns of task names; None for all."""
        ...


class SecretStore(Protocol):
    """Sealed secrets; the store never sees a value or a key."""

    async def put(self, secret: SealedSecret) -> None:
        """Keeps it, in place of one of that name."""
        ...

    async def add(self, secret: SealedSecret) -> bool:
        """Keeps it; False if there is one of that name, which then stays."""
        ...

    async def get(self, name: str) -> SealedSecret | None: ...

    async def list(self) -> tuple[SealedSecret, ...]: ...

    async def remove(self, name: str) -> bool: ...

    async def rewrap(self, changed: Sequence[tuple[SealedSecret, SealedSecret]]) -> bool:
        """Replaces each old one by its new form, all or none; False if any changed meanwhile."""
        ...


class KnownHostStore(Protocol):
    """Host keys that were trusted when they were first seen."""

    async def add(self, found: KnownHost) -> KnownHost:
        """Keeps it, unless there is one for that resource and address: then that one stays. The
        one that counts, the same for all who call at once, on any node."""
        ...

    async def get(self, resource: str, address: str) -> KnownHost | None: ...

    async def list(self) -> tuple[KnownHost, ...]:
        """By resource and address."""
        ...

    async def forget(self, resource: str) -> int:
        """Forgets all of a resource's; how many there were."""
        ...


class PolicyStore(Protocol):
    """Every applied version, by content."""

    async def apply(self, version: PolicyVersion) -> None:
        """Makes it the current one. The same content may be applied again."""
        ...

    async def current(self) -> PolicyVersion | None: ...

    async def get(self, version: str) -> PolicyVersion | None: ...

    async def history(self, limit: int) -> tuple[PolicyVersion, ...]:
        """Newest first; without their files."""
        ...


class AuditIndex(Protocol):
    """The searchable rows derived from recordings; they can be rebuilt from those."""

    async def add(self, entries: Sequence[AuditEntry]) -> None:
        """An entry with a known key replaces the earlier one: feeding twice does no harm."""
        ...

    async def search(self, query: AuditQuery) -> tuple[AuditEntry, ...]:
        """Exactly what `model.audit.matches` says, newest first."""
        ...

    async def clear(self) -> None: ...


class LeavingStore(Protocol):
    """People who leave: all that they have ends in one transaction, and stays ended."""

    async def offboard(self, leaver: Leaver, at: float) -> Ended:
        """Revokes grants (also of agents acting for them, and what was derived), ends sign-ins,
        disables local users, cancels what they asked, withdraws what they agreed to and nobody
        has used, and bars them from coming in again until `reinstate`. Other spellings of a key
        are theirs too. Whom both a directory and people shut out, people alone let in."""
        ...

    async def reinstate(self, people: Collection[str], only_by: str | None = None) -> bool:
        """Lifts the bar, and enables the local users it had disabled; False where there was none.
        With `only_by`, only a bar that they put up."""
        ...

    async def seen(self, people: Collection[str], subject: str) -> tuple[str, ...]:
        """The keys that anything here knows and that are, in whatever spelling, among `people`; and
        those of others who came in by the same `subject` from any issuer (empty for none)."""
        ...

    async def departures(self, people: Collection[str]) -> tuple[Departure, ...]:
        """Which of `people` have left."""
        ...


class UsageStore(Protocol):
    """What sessions and sign-ins say of where access is used."""

    async def places(self, selector: UseSelector, limit: int) -> tuple[Place, ...]:
        """The most recently used first. An empty selector means everybody."""
        ...

    async def dormant(self, now: float, idle_s: float, limit: int) -> tuple[DormantGrant, ...]:
        """Live grants issued, and if at all last used, more than `idle_s` ago."""
        ...

    async def tasks_used(self) -> Mapping[str, float]:
        """When each task was last used, by name."""
        ...

    async def new_places(self, since: float, limit: int) -> tuple[NewPlace, ...]:
        """Sources first seen at or after `since`, of people who were known from elsewhere."""
        ...

    async def idle_people(
        self, before: float, issuers: Collection[str], limit: int
    ) -> tuple[IdlePerson, ...]:
        """Local users, and people in the directory (who come in by any of `issuers`), who are
        active and have not come in since `before`."""
        ...


class DirectoryStore(Protocol):
    """SCIM users and groups. What takes rights away ends them in the same transaction."""

    async def add_user(self, user: DirectoryUser) -> None:
        """Raises: Conflict if the user name or the subject is taken; OverLimit."""
        ...

    async def replace_user(self, user: DirectoryUser) -> None:
        """Raises: NotFound, Conflict (also where it changed meanwhile)."""
        ...

    async def remove_user(self, user_id: str) -> bool: ...

    async def user(self, user_id: str) -> DirectoryUser | None: ...

    async def users(self) -> tuple[DirectoryUser, ...]:
        """In the order they came."""
        ...

    async def add_group(self, group: DirectoryGroup) -> None:
        """Raises: Conflict if the name is taken, NotFound for a member that is none; OverLimit."""
        ...

    async def replace_group(
        self, group: DirectoryGroup, issuers: Collection[str], why: str
    ) -> None:
        """Also cuts off, under each of `issuers`, those who are no longer in it, and everyone if
        its name has changed. Raises: NotFound, Conflict (also where it changed meanwhile)."""
        ...

    async def remove_group(
        self, group_id: str, issuers: Collection[str], at: float, why: str
    ) -> bool:
        """Also cuts off its members."""
        ...

    async def group(self, group_id: str) -> DirectoryGroup | None: ...

    async def groups(self) -> tuple[DirectoryGroup, ...]:
        """In the order they came."""
        ...

    async def groups_of(self, user_id: str) -> tuple[DirectoryGroup, ...]:
        """Those that have the user; without their members."""
        ...

    async def listed(self, subject: str) -> Listed | None:
        """Who signs in by this subject. Another spelling of it gives no groups, but shuts out."""
        ...
