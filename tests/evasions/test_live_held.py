"""Approving one thing and running another.

Each case is the verdict that a user gets, shown against a real server. Append only.
"""

import pytest

from tests.evasions.live import SECRET, SYNC, Live, Session, extended, query

# What is held, what an accomplice does while people look at it, what shows that it ran, and what
# puts things right again.
VIEW = "CREATE OR REPLACE VIEW app.open_orders AS SELECT * FROM {}.orders WHERE status <> 'done'"
SWAPS = {
    "the view behind it": (
        "UPDATE app.open_orders SET note = 'swapped'",
        VIEW.format("hidden"),
        "SELECT count(*) FROM hidden.orders WHERE note = 'swapped'",
        VIEW.format("app") + "; UPDATE hidden.orders SET note = 'zz-secret-' || id",
    ),
    "the view behind the view": (
        "UPDATE app.late_orders SET note = 'swapped'",
        VIEW.format("hidden"),
        "SELECT count(*) FROM hidden.orders WHERE note = 'swapped'",
        VIEW.format("app") + "; UPDATE hidden.orders SET note = 'zz-secret-' || id",
    ),
    "the table of that name": (
        "UPDATE app.orders SET note = 'swapped'",
        "ALTER TABLE app.orders RENAME TO kept; ALTER TABLE hidden.orders SET SCHEMA app",
        "SELECT count(*) FROM app.orders WHERE note = 'swapped'",
        "UPDATE app.orders SET note = 'zz-secret-' || id; ALTER TABLE app.orders SET SCHEMA hidden;"
        " ALTER TABLE app.kept RENAME TO orders",
    ),
    "the function it calls": (
        "SELECT app.label(1)",
        "CREATE OR REPLACE FUNCTION app.label(integer) RETURNS text LANGUAGE sql"
        " AS $$ SELECT note FROM hidden.orders LIMIT 1 $$",
        "SELECT 0",
        "CREATE OR REPLACE FUNCTION app.label(integer) RETURNS text LANGUAGE sql"
        " AS $$ SELECT 'label' $$",
    ),
    "the function of its trigger": (
        "UPDATE app.jobs SET state = 'done'",
        "CREATE OR REPLACE FUNCTION app.on_job() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN UPDATE hidden.orders SET note = 'swapped'; RETURN NEW; END $$",
        "SELECT count(*) FROM hidden.orders WHERE note = 'swapped'",
        "CREATE OR REPLACE FUNCTION app.on_job() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RETURN NEW; END $$; UPDATE hidden.orders SET note = 'zz-secret-' || id",
    ),
    "a rule on its table": (
        "UPDATE app.orders SET note = 'swapped' WHERE id = 1",
        "CREATE RULE other AS ON UPDATE TO app.orders DO ALSO UPDATE hidden.orders"
        " SET note = NEW.note",
        "SELECT count(*) FROM hidden.orders WHERE note = 'swapped'",
        "DROP RULE IF EXISTS other ON app.orders;"
        " UPDATE hidden.orders SET note = 'zz-secret-' || id;"
        " UPDATE app.orders SET note = 'open-' || id",
    ),
    "a partition below it": (
        "UPDATE app.orders SET note = 'swapped' WHERE id = 1",
        "ALTER TABLE hidden.orders INHERIT app.orders",
        "SELECT count(*) FROM hidden.orders WHERE note = 'swapped'",
        "ALTER TABLE hidden.orders NO INHERIT app.orders;"
        " UPDATE hidden.orders SET note = 'zz-secret-' || id;"
        " UPDATE app.orders SET note = 'open-' || id",
    ),
}
# Where the accomplice came too late, what was approved has run.
RESTORED = "UPDATE app.orders SET note = 'open-' || id; UPDATE app.jobs SET state = 'new'"


def to_its_end(session: Session, *pieces: bytes) -> None:
    session.send(b"".join(pieces))
    while session.until_ready()[-1] == "held":
        pass


@pytest.mark.parametrize("what", SWAPS)
@pytest.mark.parametrize("around", ["", "BEGIN", "BEGIN ISOLATION LEVEL REPEATABLE READ",
                                    "BEGIN ISOLATION LEVEL SERIALIZABLE"])  # fmt: skip
@pytest.mark.parametrize("simple", [True, False])
def test_what_was_swapped_while_it_was_held_does_not_run(
    live: Live, what: str, around: str, simple: bool
) -> None:
    text, meanwhile, ran, after = SWAPS[what]
    swapped: list[str] = []
    try:
        with live.session("keeper") as s, live.approving(meanwhile) as swapped:
            if around:
                s.ask(around)
                s.ask("SELECT count(*) FROM lab.notes")
            to_its_end(s, *((query(text),) if simple else (*extended(text), SYNC)))
            if around:
                s.ask("COMMIT")
            if swapped:
                assert s.states[:1] == ["42501"], s.errors
            assert SECRET not in s.seen
        assert live.behind(ran) == "0" or not swapped
    finally:
        live.behind(after if swapped else RESTORED)
        live.forget()


def test_what_nobody_swapped_runs_once_it_is_approved(live: Live) -> None:
    with live.session("keeper") as s, live.approving():
        to_its_end(s, query("UPDATE app.orders SET note = 'approved' WHERE id = 6"))
        assert not s.errors
    assert live.behind("SELECT note FROM app.orders WHERE id = 6") == "approved"
    live.behind("UPDATE app.orders SET note = 'open-6' WHERE id = 6")
