"""The enforcement function: every request of every protocol is admitted or refused here.

Order counts: the grant and the hours are checked, the policy's word is taken, the event is put
into the recording; only then does the protocol get its answer, and its driver writes the
recording out before any byte goes to the resource.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from taskgate.gateway.signals import Signals
from taskgate.model.action import Action, Request
from taskgate.model.clock import Clock, Deadline
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import BadConfig, Denied, TaskgateError
from taskgate.model.event import EventKind
from taskgate.model.grant import Grant, SessionInfo
from taskgate.model.limits import MAX_CACHED_DECISIONS
from taskgate.model.masks import MaskSet
from taskgate.policy.bounds import Bounds, bounds_of, is_agent, judge_within
from taskgate.policy.hours import open_at
from taskgate.policy.rules import Policy, Task
from taskgate.protocols.gate import Admission
from taskgate.recording.recording import Recording


class PolicySource(Protocol):
    """Whoever knows which policy counts now."""

    @property
    def current(self) -> Policy: ...


class TaskGate:
    """One session's enforcement point; the `Gate` of `protocols.gate`.

    `cut` holds the reason once the session's right has ended; nothing is admitted after.
    `asked_at` is the monotonic time at which the client sent what is being judged; whoever reads
    the client sets it.
    """

    __slots__ = (
        "_bounds",
        "_chain",
        "_clock",
        "_count",
        "_deadline",
        "_ensure",
        "_number",
        "_policies",
        "asked_at",
        "cut",
        "grant",
        "info",
        "recording",
        "signals",
    )

    def __init__(
        self,
        info: SessionInfo,
        grant: Grant,
        policies: PolicySource,
        recording: Recording,
        clock: Clock,
        signals: Signals,
        ensure: Callable[[Grant], None],
    ) -> None:
        """`ensure` raises where the grant is known to be over, or where that cannot be known."""
        self.info = info
        self.cut: TaskgateError | None = None
        self.grant = grant
        self._policies = policies
        self.recording = recording
        self._clock = clock
        self._count = signals.request
        self.signals = signals
        self.asked_at = clock.monotonic()
        self._ensure = ensure
        self._deadline = Deadline.at(grant.expires_at, clock)
        self._number = 0
        self._bounds: tuple[str, Bounds] | None = None
        self._chain = _chain(grant)

    @property
    def requests(self) -> int:
        """How many requests this session has made."""
        return self._number

    @property
    def idle_s(self) -> float | None:
        """How long the session may be silent, by the task as it is now."""
        task = self._policies.current.tasks.get(self.info.task)
        return task.limits.idle_s if task is not None else None

    @property
    def task(self) -> Task | None:
        """The session's task as it is now; None once it has left the policy."""
        return self._policies.current.tasks.get(self.info.task)

    def policy_version(self) -> str:
        return self._policies.current.version

    def judge(self, actions: Sequence[Action]) -> Decision:
        policy = self._policies.current
        task = policy.tasks.get(self.info.task)
        if task is None:
            return Decision(
                Outcome.DENY,
                rule="unknown is refused",
                source="",
                reason=f"task {self.info.task} is not in the policy any more",
                policy_version=policy.version,
                hint="taskgate tasks lists those you may take up",
            )
        try:
            bounds = self._bounds_of(policy.version, task)
        except BadConfig as error:
            return Decision(
                Outcome.DENY,
                rule=f"{task.name}/narrowed",
                source=f"grant {self.grant.id}",
                reason=f"the lines that narrow this grant do not fit its task: {error.message}",
                policy_version=policy.version,
                hint="derive a new grant",
            )
        return judge_within(policy.version, task, self.info.resource, actions, bounds)

    def _bounds_of(self, policy_version: str, task: Task) -> Bounds:
        if self._bounds is None or self._bounds[0] != policy_version:
            self._bounds = (policy_version, bounds_of(task, self.grant))
        return self._bounds[1]

    def speaks_of(self, verbs: Iterable[str]) -> bool:
        """Whether any permit or hold of the task is about one of `verbs`."""
        task = self._policies.current.tasks.get(self.info.task)
        return task is not None and (
            task.otherwise is Outcome.HOLD
            or any(task.permits.of(verb) or task.holds.of(verb) for verb in verbs)
        )

    def masks(self) -> MaskSet:
        task = self._policies.current.tasks.get(self.info.task)
        return task.masks if task is not None else MaskSet()

    def ended(self) -> TaskgateError | None:
        """Why nothing may run any more: revoked, expired, outside the task's hours."""
        return self._ended(self._clock.now())

    def _ended(self, now: float) -> TaskgateError | None:
        if self.cut is not None:
            return self.cut
        try:
            self._ensure(self.grant)
        except TaskgateError as error:
            return error
        # By either clock, as `Deadline.passed`; asked at every request, so without asking twice.
        if self._deadline.monotonic <= self._clock.monotonic() or not self.grant.live(now):
            return Denied(
                f"the grant for task {self.info.task} has expired",
                rule="expiry",
                hint=f'taskgate request {self.info.task} --reason "..." takes it up again',
            )
        task = self._policies.current.tasks.get(self.info.task)
        if task is None:
            return Denied(
                f"task {self.info.task} is not in the policy any more",
                rule="unknown is refused",
                hint="taskgate tasks lists those you may take up",
            )
        if not self.grant.break_glass and not open_at(task, now):
            hours = ", ".join(task.hours.text) if task.hours is not None else "none"
            return Denied(
                f"task {self.info.task} is outside its hours ({hours})",
                rule="hours",
                hint="come back within them",
            )
        return None

    def admit(self, request: Request, decision: Decision) -> Admission:
        self._number += 1
        number = self._number
        now = self._clock.now()
        error = self._ended(now)
        if error is None and decision.outcome is Outcome.DENY:
            error = Denied(decision.reason, rule=decision.rule, hint=decision.hint)
        outcome = Outcome.DENY if error is not None else decision.outcome
        facts: dict[str, Any] = {
            "request": number,
            "text": request.text,
            "actions": _ENCODED.of(request.actions),
            "outcome": outcome.value,
            "rule": decision.rule,
            "reason": decision.reason if error is None else error.message,
            "policy_version": decision.policy_version,
        }
        if request.parameters:
            facts["parameters"] = request.parameters
        if request.digest:
            facts["digest"] = request.digest
        if self._chain:
            facts |= self._chain
        self.recording.record(_ADMITTED[outcome], now, facts)
        self._counted(outcome)
        return Admission(number, outcome, decision, error)

    def go_on(self, number: int) -> TaskgateError | None:
        error = self.ended()
        if error is not None:
            facts = {"request": number, "outcome": "deny", "reason": error.message}
            self._note(EventKind.REQUEST_DENIED, facts)
            self._count(Outcome.DENY)
        else:
            self._note(EventKind.REQUEST_CONTINUED, {"request": number})
        return error

    def refuse(self, text: str, error: TaskgateError) -> None:
        self._number += 1
        facts = {
            "request": self._number,
            "text": text,
            "actions": [],
            "outcome": "deny",
            "rule": error.rule if isinstance(error, Denied) else "unreadable is refused",
            "reason": error.message,
            "policy_version": self.policy_version(),
        }
        self._note(EventKind.REQUEST_DENIED, facts)
        self._counted(Outcome.DENY)

    def _counted(self, outcome: Outcome) -> None:
        """A request was judged. The next one in the same delivery is asked from here on."""
        self._count(outcome)
        at = self._clock.monotonic()
        self.signals.tallies.decision_seconds.add(at - self.asked_at)
        self.asked_at = at

    def prepared(self, text: str, decision: Decision) -> TaskgateError | None:
        error = self.ended()
        if error is None:
            self._note(EventKind.REQUEST_PREPARED, {"text": text, "rule": decision.rule})
        return error

    def finished(self, number: int, facts: dict[str, Any]) -> None:
        self._note(EventKind.REQUEST_FINISHED, {"request": number, **facts})
        self.signals.tallies.finished(facts)

    def note(self, kind: str, facts: dict[str, Any]) -> None:
        self._note(EventKind(kind), facts)

    def _note(self, kind: EventKind, facts: dict[str, Any]) -> None:
        if self._chain:
            facts = facts | self._chain
        self.recording.record(kind, self._clock.now(), facts)


def _chain(grant: Grant) -> dict[str, Any]:
    """On every event of a derived grant's session, and of an agent's: through whom it came."""
    facts: dict[str, Any] = {}
    if is_agent(grant.identity):
        facts |= {"identity": grant.identity.key, "acts_for": list(grant.identity.keys[1:])}
    if grant.parent is not None:
        facts |= {"grant": grant.id, "step": grant.step}
        facts["chain"] = [
            {"grant": link.grant, "identity": link.identity, "step": link.step}
            for link in grant.chain
        ]
    return facts


_ADMITTED = {
    Outcome.PERMIT: EventKind.REQUEST_PERMITTED,
    Outcome.HOLD: EventKind.REQUEST_HELD,
    Outcome.DENY: EventKind.REQUEST_DENIED,
}


class _ActionFacts:
    """Actions in the form that recordings keep and search reads, encoded once.

    Protocols judge a text once and admit it often, with the same tuple each time; the tuple is
    kept beside its encoding, so that its identity stays its own.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[tuple[Action, ...], msgspec.Raw]] = OrderedDict()

    def of(self, actions: tuple[Action, ...]) -> msgspec.Raw:
        known = self._known.get(id(actions))
        if known is not None and known[0] is actions:
            return known[1]
        encoded = msgspec.Raw(msgspec.json.encode([_facts(action) for action in actions]))
        self._known[id(actions)] = (actions, encoded)
        if len(self._known) > MAX_CACHED_DECISIONS:
            self._known.popitem(last=False)
        return encoded


def _facts(action: Action) -> dict[str, Any]:
    facts: dict[str, Any] = {"verb": action.verb, "object": action.object, "kind": action.kind}
    if action.columns is not None:
        facts["columns"] = action.columns
    if action.compared:
        facts["compared"] = action.compared
    if action.via:
        facts["via"] = action.via
    return facts


_ENCODED = _ActionFacts()
