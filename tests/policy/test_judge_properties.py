"""Laws of the decision point, over any rules and any actions."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.model.action import Action
from taskgate.model.decision import ApprovalDemand, Outcome, TaskLimits
from taskgate.model.masks import ColumnMask, Compared, MaskSet, Transform, TransformKind
from taskgate.model.names import parse_pattern
from taskgate.policy.explain import explain
from taskgate.policy.judge import judge
from taskgate.policy.patterns import ObjectPattern, parse_object
from taskgate.policy.rules import (
    Effect,
    Entry,
    Lasts,
    MaskPattern,
    Members,
    Policy,
    Rule,
    Task,
    index_rules,
)
from taskgate.policy.vocabulary import POSTGRES, NameShape, VerbSpec

WORSE = {Outcome.PERMIT: 0, Outcome.HOLD: 1, Outcome.DENY: 2}
VERBS = ("select", "insert", "update", "delete", "truncate", "copy_from", "call", "drop", "any")
ANY = VerbSpec("any", "", NameShape.FLEXIBLE)

objects = st.sampled_from(
    [
        "s.a",
        "s.b",
        "r.a",
        "?.a",
        "s.?",
        '"s.a".b',
        "pg_catalog.pg_stats",
        "pg_catalog.lower",
        "s",
        's."',
        "",
    ]
)
columns = st.none() | st.lists(st.sampled_from(["x", "y", "z", "*"]), max_size=3).map(tuple)
actions = st.builds(
    Action,
    verb=st.sampled_from([*VERBS[:-1], "unheard_of", "transaction"]),
    object=objects,
    kind=st.sampled_from(
        ["table", "view", "function", "builtin", "metadata", "schema", "statement"]
    ),
    write=st.booleans(),
    columns=columns,
    compared=st.lists(st.sampled_from(["x", "y", "z"]), max_size=2).map(tuple),
    via=st.sampled_from(["", "", "", "s.a", "s.b", "r.a"]),
    complete=st.sampled_from([True, True, True, True, False]),
)
demands = st.builds(
    ApprovalDemand,
    groups=st.sampled_from([frozenset({"a"}), frozenset({"b"}), frozenset({"a", "b"})]),
    subjects=st.just(frozenset()),
    people=st.integers(1, 3),
    within_s=st.sampled_from([60.0, 900.0]),
)


@st.composite
def patterns(draw: st.DrawFn, verb: str) -> ObjectPattern:
    spec = POSTGRES.spec(verb) or ANY
    texts = ["s.a", "s.*", "*.a", "*", "r.a", "pg_catalog.*"]
    if spec.columns:
        texts += ["s.a(x)", "s.a(x, y)", "s.*(y)", "*.a(z)"]
    if verb in ("select", "any"):
        texts.append("@catalog")
    return parse_object(draw(st.sampled_from(texts)), spec, POSTGRES)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    effect = draw(st.sampled_from(Effect))
    verb = draw(st.sampled_from(VERBS))
    number = draw(st.integers(0, 10**9))
    return Rule(
        address=f"t/{effect.value}[{number}]",
        source=f"f:{number}",
        effect=effect,
        entries=(Entry(verb, draw(patterns(verb)), verb, f"f:{number}"),),
        demand=draw(demands) if effect is Effect.HOLD else None,
        trusted=draw(st.booleans()),
    )


@st.composite
def mask_patterns(draw: st.DrawFn) -> MaskPattern:
    compared = draw(st.sampled_from(Compared))
    relation = draw(st.sampled_from(["s.a", "s.*", "*.a", "*.*"]))
    column = draw(st.sampled_from(["x", "y", "*"]))
    mask = ColumnMask(relation, column, Transform(TransformKind.REDACT), compared, "t/mask[0]")
    (part,) = parse_pattern(f"{column}.q").parts[:1]
    return MaskPattern(
        mask,
        parse_pattern(relation),
        part,
        "f:1",
        draw(demands) if compared is Compared.HOLD else None,
    )


def make(
    these: list[Rule], masks: list[MaskPattern], hold_for: ApprovalDemand | None = None
) -> Task:
    kept = tuple(these)
    return Task(
        name="t",
        description="",
        source="f:1",
        resources=("db",),
        members=Members(frozenset({"g"}), frozenset()),
        lasts=Lasts(1, 1),
        hours=None,
        rules=kept,
        otherwise=Outcome.HOLD if hold_for is not None else Outcome.DENY,
        hold_for=hold_for,
        masks=MaskSet(tuple(m.mask for m in masks)),
        mask_patterns=tuple(masks),
        limits=TaskLimits(),
        record_rows=False,
        record_output=False,
        standing=None,
        vocabulary=POSTGRES,
        permits=index_rules(kept, Effect.PERMIT, POSTGRES),
        holds=index_rules(kept, Effect.HOLD, POSTGRES),
        denies=index_rules(kept, Effect.DENY, POSTGRES),
    )


rule_lists = st.lists(rules(), max_size=6)
action_lists = st.lists(actions, max_size=4)
mask_lists = st.lists(mask_patterns(), max_size=2)
hold_fors = st.none() | demands


def outcome(task: Task, these: list[Action]) -> Outcome:
    return judge("v", task, "db", these).outcome


@settings(max_examples=150)
@given(rule_lists, rules(), mask_lists, hold_fors, action_lists)
def test_adding_a_deny_never_permits_more(
    these: list[Rule],
    more: Rule,
    masks: list[MaskPattern],
    hold_for: ApprovalDemand | None,
    does: list[Action],
) -> None:
    deny = Rule("t/deny[x]", "f:1", Effect.DENY, more.entries)
    before = outcome(make(these, masks, hold_for), does)
    after = outcome(make([*these, deny], masks, hold_for), does)
    assert WORSE[after] >= WORSE[before]


@settings(max_examples=150)
@given(rule_lists, rules(), mask_lists, hold_fors, action_lists)
def test_adding_a_permit_never_permits_less(
    these: list[Rule],
    more: Rule,
    masks: list[MaskPattern],
    hold_for: ApprovalDemand | None,
    does: list[Action],
) -> None:
    permit = Rule("t/permit[x]", "f:1", Effect.PERMIT, more.entries)
    before = outcome(make(these, masks, hold_for), does)
    after = outcome(make([*these, permit], masks, hold_for), does)
    assert WORSE[after] <= WORSE[before]


@settings(max_examples=150)
@given(rule_lists, rules(), demands, mask_lists, action_lists)
def test_adding_a_hold_never_lets_anything_run_unasked(
    these: list[Rule],
    more: Rule,
    asked: ApprovalDemand,
    masks: list[MaskPattern],
    does: list[Action],
) -> None:
    hold = Rule("t/hold[x]", "f:1", Effect.HOLD, more.entries, demand=asked)
    before = outcome(make(these, masks), does)
    after = outcome(make([*these, hold], masks), does)
    assert after is not Outcome.PERMIT or before is Outcome.PERMIT


@settings(max_examples=150)
@given(rule_lists, mask_lists, hold_fors, action_lists, st.randoms())
def test_neither_the_order_of_rules_nor_that_of_actions_matters(
    these: list[Rule],
    masks: list[MaskPattern],
    hold_for: ApprovalDemand | None,
    does: list[Action],
    random: Random,
) -> None:
    first = judge("v", make(these, masks, hold_for), "db", does)
    shuffled_rules, shuffled_actions = list(these), list(does)
    random.shuffle(shuffled_rules)
    random.shuffle(shuffled_actions)
    second = judge("v", make(shuffled_rules, masks, hold_for), "db", shuffled_actions)
    assert first.outcome is second.outcome
    assert first.demands == second.demands
    assert first.trusted == second.trusted


@settings(max_examples=150)
@given(rule_lists, mask_lists, hold_fors, action_lists, actions)
def test_doing_more_is_never_judged_milder(
    these: list[Rule],
    masks: list[MaskPattern],
    hold_for: ApprovalDemand | None,
    does: list[Action],
    more: Action,
) -> None:
    # Something reached through another thing is excused by it, so only direct actions are added to.
    direct = [action for action in does if not action.via]
    task = make(these, masks, hold_for)
    assert WORSE[outcome(task, [*direct, more])] >= WORSE[outcome(task, direct)]


@settings(max_examples=150)
@given(rule_lists, mask_lists, hold_fors, action_lists)
def test_what_is_incomplete_is_denied_and_demands_come_with_holds_only(
    these: list[Rule],
    masks: list[MaskPattern],
    hold_for: ApprovalDemand | None,
    does: list[Action],
) -> None:
    decision = judge("v", make(these, masks, hold_for), "db", does)
    if any(not action.complete for action in does):
        assert decision.outcome is Outcome.DENY
    assert bool(decision.demands) == (decision.outcome is Outcome.HOLD)
    assert decision.rule
    assert decision.reason
    assert bool(decision.hint) == (decision.outcome is not Outcome.PERMIT)


@settings(max_examples=100)
@given(rule_lists, mask_lists, hold_fors, action_lists)
def test_explaining_agrees_with_judging(
    these: list[Rule],
    masks: list[MaskPattern],
    hold_for: ApprovalDemand | None,
    does: list[Action],
) -> None:
    task = make(these, masks, hold_for)
    policy = Policy("v", {}, {"t": task}, {}, {})
    explained = explain(policy, "t", "db", None, does, 0.0)
    assert explained.decision == judge("v", task, "db", does)
    worst = max((WORSE[trace.outcome] for trace in explained.actions), default=0)
    assert worst == WORSE[explained.decision.outcome]
    for trace in explained.actions:
        if any(rule.matched and rule.effect is Effect.DENY for rule in trace.rules):
            assert trace.outcome is Outcome.DENY
        deciding = [rule for rule in trace.rules if rule.address == trace.rule]
        assert not deciding or any(rule.matched for rule in deciding)


def test_a_thousand_rules_are_judged_quickly() -> None:
    select = POSTGRES.spec("select")
    assert select is not None
    many = [
        Rule(
            f"t/permit[{n}]",
            "f:1",
            Effect.PERMIT,
            (Entry("select", parse_object(f"s{n}.*", select, POSTGRES), "select", "f:1"),),
        )
        for n in range(1000)
    ]
    does = [Action("select", f"s{n}.a", "table", write=False, columns=("x",)) for n in range(50)]
    assert outcome(make(many, []), does) is Outcome.PERMIT
