"""What narrows a grant only ever takes away; what an agent does can be held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import BadConfig
from taskgate.model.grant import Grant, Permitted
from taskgate.model.identity import Identity, IdentityKind
from taskgate.policy.bounds import Bounds, bounds_of, judge_within, lens_of, parse_lines, read_rule
from taskgate.policy.judge import judge
from taskgate.policy.rules import Task
from tests.policy.making import act, errors_of, person, task

BODY = """\
permit:
  - select: [s.a, s.b]
  - insert: [s.a]
hold:
  - update: [s.a]
    for: {groups: [leads]}
deny:
  - delete: ["s.*"]
"""
ANN = person("ann", "g")


def grant(*levels: tuple[Permitted, ...], identity: Identity = ANN) -> Grant:
    return Grant("g-1", identity, "t", "why", ("db",), 0.0, 1.0, narrowings=levels)


def within(given_task: Task, of: Grant, *actions: object) -> Decision:
    return judge_within("v1", given_task, "db", actions, bounds_of(given_task, of))  # type: ignore[arg-type]


SELECT_A = (Permitted("select", ("s.a",)),)
EVERYTHING = (Permitted("any", ("*",)),)


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (act("select", "s.a"), "permit"),
        (act("select", "s.b"), "deny"),
        (act("insert", "s.a"), "deny"),
        (act("update", "s.a"), "deny"),
        (act("transaction", "begin", kind="statement"), "permit"),
        (act("call", "pg_catalog.lower", kind="builtin"), "permit"),
        (act("select", "s.a", complete=False), "deny"),
    ],
)
def test_an_action_must_be_permitted_by_the_task_and_by_the_level(
    action: object, outcome: str
) -> None:
    assert within(task(BODY), grant(SELECT_A), action).outcome == outcome


def test_naming_everything_adds_nothing() -> None:
    made = task(BODY)
    for action, outcome in (
        (act("select", "s.c"), "deny"),
        (act("delete", "s.a"), "deny"),
        (act("update", "s.a"), "hold"),
        (act("select", "s.b"), "permit"),
    ):
        assert within(made, grant(EVERYTHING), action).outcome == outcome
        assert (
            within(made, grant(EVERYTHING, SELECT_A, EVERYTHING), act("select", "s.b")).outcome
            == "deny"
        )


def test_every_level_counts() -> None:
    levels = (SELECT_A, (Permitted("select", ("s.b",)),))
    for name in ("s.a", "s.b"):
        assert within(task(BODY), grant(*levels), act("select", name)).outcome == "deny"


def test_all_actions_of_a_request_count() -> None:
    both = (act("select", "s.a"), act("select", "s.b"))
    assert within(task(BODY), grant(SELECT_A), *both).outcome == "deny"


def test_masks_and_obligations_stay_the_tasks() -> None:
    made = task("permit:\n  - select: [s.a]\nmask:\n  - {columns: [s.a.x], as: redact}\n")
    decision = within(made, grant(SELECT_A), act("select", "s.a", ["x"]))
    assert (decision.outcome, decision.masks) == ("permit", made.masks)
    assert (
        within(made, grant(SELECT_A), act("select", "s.a", ["y"], compared=["x"])).outcome == "deny"
    )


WORDS = st.sampled_from(["select", "insert", "update", "delete", "read", "write", "any"])
NAMES = st.sampled_from(["s.a", "s.b", "s.*", "*", "s.a(x)", "s.c"])


@given(
    st.lists(st.lists(st.tuples(WORDS, NAMES), min_size=1, max_size=3), max_size=3),
    st.lists(
        st.tuples(st.sampled_from(["select", "insert", "update", "delete"]),
                  st.sampled_from(["s.a", "s.b", "s.c"]), st.sampled_from([None, ["x"], ["y"]])),
        min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_no_level_ever_lets_more_happen(
    levels: list[list[tuple[str, str]]],
    wanted: list[tuple[str, str, list[str] | None]],
) -> None:
    made = task(BODY)
    order = {Outcome.DENY: 0, Outcome.HOLD: 1, Outcome.PERMIT: 2}
    actions = [act(verb, name, columns) for verb, name, columns in wanted]
    lines = tuple(tuple(Permitted(word, (name,)) for word, name in level) for level in levels)
    try:
        of = grant(*lines)
        bounds_of(made, of)
    except BadConfig:
        return
    before = judge("v1", made, "db", actions).outcome
    for depth in range(len(lines) + 1):
        after = within(made, grant(*lines[:depth]), *actions).outcome
        assert order[after] <= order[before]
        before = after


def test_grants_that_may_be_judged_otherwise_have_another_lens() -> None:
    agent = Identity("bot", kind=IdentityKind.AGENT, acts_for=ANN)
    lenses = {
        lens_of(grant()), lens_of(grant(SELECT_A)), lens_of(grant(EVERYTHING)),
        lens_of(grant(SELECT_A, EVERYTHING)), lens_of(grant(identity=agent)),
        lens_of(grant(SELECT_A, identity=agent)),
    }  # fmt: skip
    assert len(lenses) == 6
    assert lens_of(grant()) == ""


HELD = BODY + "hold_for: {groups: [leads]}\nhold_agents: %s\n"


@pytest.mark.parametrize(
    ("value", "action", "outcome"),
    [
        ("true", act("select", "s.a"), "hold"),
        ("true", act("insert", "s.a"), "hold"),
        ("true", act("transaction", "begin", kind="statement"), "permit"),
        ("true", act("select", "s.c"), "deny"),
        ("writes", act("select", "s.a"), "permit"),
        ("writes", act("insert", "s.a"), "hold"),
    ],
)
def test_an_agent_is_held_for_what_people_may_do(value: str, action: object, outcome: str) -> None:
    made = task(HELD.replace("%s", value))
    bounds = Bounds(agent=True)
    assert judge_within("v1", made, "db", [action], bounds).outcome == outcome  # type: ignore[list-item]
    human = judge_within("v1", made, "db", [action], Bounds())  # type: ignore[list-item]
    assert human == judge("v1", made, "db", [action])  # type: ignore[list-item]


def test_whoever_acts_for_somebody_counts_as_an_agent() -> None:
    made = task(HELD.replace("%s", "true"))
    human_for = Identity("eve", groups=frozenset({"g"}), acts_for=ANN)
    assert within(made, grant(identity=human_for), act("select", "s.a")).outcome == "hold"


def test_hold_agents_needs_somebody_who_approves() -> None:
    (error,) = errors_of("permit:\n  - select: [s.a]\nhold_agents: true\n")
    assert "nobody approves" in error[1]


@pytest.mark.parametrize(
    "text",
    ["", "select", "- select", "select: ", "select: []", "select: [1]", "{", "&a b",
     "select: {a: b}", "!!python/object:os.system x"],
)  # fmt: skip
def test_a_line_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(BadConfig):
        read_rule(text)


def test_lines_are_the_policys_own_words() -> None:
    assert read_rule("select: s.a") == {"select": ["s.a"]}
    assert read_rule("{select: [s.a, 's.b(x)'], insert: [s.c]}") == {
        "select": ["s.a", "s.b(x)"], "insert": ["s.c"]
    }  # fmt: skip
    with pytest.raises(BadConfig):
        parse_lines([{"select": [f"s.t{n}" for n in range(201)]}])
