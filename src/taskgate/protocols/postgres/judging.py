"""Text to verdict: parse, resolve names, analyse, judge; and what may be remembered of it.

A verdict is remembered by exact text for one task, resource and catalog (what names resolve to).
It is used again while the policy version is the same, the catalog has not changed, and the names
behind it were looked up less than RESOLUTION_TTL_S ago. The grant, its hours and its revocation
are no part of it: they are checked at each run.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass, field, replace

from taskgate.masking.plan import relation_is_masked
from taskgate.model.action import Action, Request
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import Denied, Unreadable
from taskgate.model.limits import MAX_CACHED_DECISIONS, MAX_VIEW_DEPTH
from taskgate.model.masks import MaskSet
from taskgate.protocols.gate import Gate
from taskgate.protocols.postgres.rewrite import RowRewriter
from taskgate.protocols.postgres.templates import template_of
from taskgate.sql.analyse import analyse
from taskgate.sql.catalog import Catalog, NeededName
from taskgate.sql.facts import NO_EFFECTS, Analysis, NeedNames, SessionNames, StatementFacts
from taskgate.sql.script import Script, parse_script

# A text is analysed again each time a view it reads needs more names.
_MAX_ROUNDS = 2 * MAX_VIEW_DEPTH


@dataclass(slots=True)
class Judged:
    """One text under one task: what it does and what the policy says of it.

    `fresh_until` (seconds since the epoch) is when its names must be looked up again.
    `tainted`: errors and notices of the resource might quote a masked value.
    `session_bound`: it depends on names this session made, so it is not remembered.
    `plans` keeps the mask plans of its results, made in `masked_output`.
    `quiet`: no statement in it changes anything in the session. `templated`: it also holds for
    texts that differ in plain literals only; `script` is then of one of them.
    """

    text: str
    script: Script
    analysis: Analysis
    actions: tuple[Action, ...]
    decision: Decision
    catalog: Catalog
    generation: int
    fresh_until: float
    tainted: bool
    session_bound: bool
    templated: bool
    quiet: bool
    plans: dict[tuple[object, ...], RowRewriter | None] = field(default_factory=dict)

    def current(self, catalog: Catalog, policy_version: str, now: float) -> bool:
        return (
            self.catalog is catalog
            and self.generation == catalog.generation
            and now < self.fresh_until
            and self.decision.policy_version == policy_version
        )

    def for_text(self, text: str) -> "Judged":
        """The same verdict on a text that reads alike."""
        return Judged(
            text,
            self.script,
            self.analysis,
            self.actions,
            self.decision,
            self.catalog,
            self.generation,
            self.fresh_until,
            self.tainted,
            self.session_bound,
            self.templated,
            self.quiet,
            self.plans,
        )

    def same_meaning(self, other: "Judged") -> bool:
        """Whether both name the same things and are judged alike."""
        return (
            self.analysis.resolution == other.analysis.resolution
            and self.decision == other.decision
        )


@dataclass(frozen=True, slots=True)
class LookUp:
    """What a judging generator waits for: names to be resolved over the session's connection."""

    names: frozenset[NeededName]


# Statements of which two that differ in plain literals only do the same to the same things, unless
# the analysis looked at a constant.
_TEMPLATED = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "VALUES", "TABLE"})


@dataclass(slots=True)
class CacheCounts:
    """How often a verdict was there (`hits`), and how often one had to be made (`misses`, counted
    by whoever makes it)."""

    hits: int = 0
    misses: int = 0


class JudgedTexts:
    """Verdicts by text, least recently used out first. Shared by a task's sessions; `counts` may
    be by those of others too."""

    __slots__ = ("_by_template", "_by_text", "counts")

    def __init__(self, counts: CacheCounts | None = None) -> None:
        self._by_text: OrderedDict[str, Judged] = OrderedDict()
        self._by_template: OrderedDict[str, Judged] = OrderedDict()
        self.counts = counts if counts is not None else CacheCounts()

    def get(self, text: str, catalog: Catalog, policy_version: str, now: float) -> Judged | None:
        """The verdict on this text, or on one that reads alike (see `templates`)."""
        judged = self._by_text.get(text)
        if judged is not None and judged.current(catalog, policy_version, now):
            self.counts.hits += 1
            return judged
        template = template_of(text)
        if template is not None:
            judged = self._by_template.get(template)
            if judged is not None and judged.current(catalog, policy_version, now):
                self.counts.hits += 1
                return judged.for_text(text)
        return None

    def put(self, judged: Judged) -> None:
        if judged.session_bound:
            return
        _keep(self._by_text, judged.text, judged)
        if judged.templated:
            template = template_of(judged.text)
            if template is not None:
                _keep(self._by_template, template, judged)


def _keep(kept: OrderedDict[str, Judged], key: str, judged: Judged) -> None:
    kept[key] = judged
    kept.move_to_end(key)
    if len(kept) > MAX_CACHED_DECISIONS:
        kept.popitem(last=False)


def judge_text(
    text: str, catalog: Catalog, names: SessionNames, gate: Gate, now: float
) -> Generator[LookUp, Catalog, Judged]:
    """Judges `text`; yields each time names must be looked up, and is sent the catalog to go on
    with (it may be another one: a look-up also tells what the search path now is).

    Raises:
        Unreadable: the text does not parse, or its names could not be told.
    """
    script = parse_script(text)
    for _ in range(_MAX_ROUNDS):
        found = analyse(script, catalog, names)
        if isinstance(found, NeedNames):
            catalog = yield LookUp(frozenset(found.names))
            continue
        return judged_of(text, script, found, catalog, gate, now)
    raise Unreadable(
        "the statement's names could not be resolved: views within views, or a catalog that keeps "
        "changing",
        hint=f"views may be nested {MAX_VIEW_DEPTH} deep",
    )


def judged_of(
    text: str, script: Script, analysis: Analysis, catalog: Catalog, gate: Gate, now: float
) -> Judged:
    """The verdict on an analysis."""
    actions = tuple(a for s in analysis.statements for a in s.actions)
    decision = gate.judge(actions)
    masks = decision.masks
    if masks.columns and decision.outcome is not Outcome.DENY:
        decision = _refuse_guesses(analysis, decision)
    decision = _say_what_is_unclear(analysis, decision)
    tainted = any(might_show_masked(facts, masks) for facts in analysis.statements)
    return Judged(
        text=text,
        script=script,
        analysis=analysis,
        actions=actions,
        decision=decision,
        catalog=catalog,
        generation=catalog.generation,
        fresh_until=catalog.fresh_until(now),
        tainted=tainted,
        session_bound=any(s.session_bound for s in analysis.statements),
        quiet=all(s.effects == NO_EFFECTS for s in analysis.statements),
        templated=all(s.tag in _TEMPLATED and not s.reads_constants for s in analysis.statements),
    )


def _refuse_guesses(analysis: Analysis, decision: Decision) -> Decision:
    """A result that is steered by a value whose origin cannot be told might tell a masked value
    bit by bit."""
    for facts in analysis.statements:
        if not (facts.compares_unknown or facts.compares_functions - decision.trusted):
            continue
        if might_show_masked(facts, decision.masks):
            return replace(
                decision,
                outcome=Outcome.DENY,
                rule=decision.masks.columns[0].rule,
                reason="the statement compares, sorts or groups by a value that might come from a "
                "masked column",
                hint="name plain columns that are not masked in WHERE, JOIN, ORDER BY and GROUP BY",
            )
    return decision


def _reaches_masked(facts: StatementFacts, masks: MaskSet) -> bool:
    return any(relation_is_masked(relation, masks) for relation in facts.relations)


def might_show_masked(facts: StatementFacts, masks: MaskSet) -> bool:
    """Whether a value of unknown origin in this statement's answer might be a masked one."""
    return bool(masks.columns) and (facts.opaque or _reaches_masked(facts, masks))


def _say_what_is_unclear(analysis: Analysis, decision: Decision) -> Decision:
    unclear = [why for facts in analysis.statements for why in facts.unclear]
    if not unclear or decision.outcome is not Outcome.DENY:
        return decision
    return replace(decision, reason=f"{decision.reason} ({'; '.join(dict.fromkeys(unclear))})")


def request_of(
    judged: Judged,
    where: bytes,
    parameters: tuple[str | None, ...] = (),
    parameter_digest: bytes = b"",
) -> Request:
    """The request to admit. Digests are made only where a hold may need them.

    `where` names resource and database; `parameter_digest` covers the bound bytes, their types
    and formats, of which `parameters` is the readable form.
    """
    actions = judged.actions
    if judged.decision.outcome is not Outcome.HOLD:
        return Request(judged.text, actions, "", "", parameters)
    names = judged.analysis.resolution.encode()
    version = judged.decision.policy_version.encode()
    return Request(
        judged.text,
        actions,
        _digest(b"exact", where, judged.text.encode(), parameter_digest, names, version),
        _digest(b"shape", where, judged.analysis.shape.encode(), names, version),
        parameters,
    )


def _digest(*parts: bytes) -> str:
    """SHA-256 over length-prefixed parts, so that no two lists of parts read alike."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def unknown_name(what: str, name: str) -> Denied:
    """The refusal of a statement or cursor that this gate has not seen being made."""
    return Denied(
        f'{what} "{name}" is not known to the gate in this session',
        rule="unknown is refused",
        hint=f"make the {what} in this session before using it",
    )
