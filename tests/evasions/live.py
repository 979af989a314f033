"""A whole gateway before a real server, for those who try to get round it.

Whatever must not arrive has `zz-secret` in it; whatever must not happen changes a row. A case looks
at every byte the client was sent, and behind the gate at what the server holds.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psycopg

from taskgate.demo.cluster import ClusterFault
from taskgate.demo.gate import Person
from taskgate.protocols.postgres import messages
from tests.end_to_end.conftest import Setting
from tests.end_to_end.wire import Wire, message
from tests.patience import PATIENCE_S

LEAD = Person("lead", "approves", ("leads",))
SECRET = b"zz-secret"

WORLD = """
CREATE SCHEMA app;
CREATE SCHEMA hidden;
CREATE SCHEMA lab;
CREATE TABLE app.regions (name text PRIMARY KEY);
INSERT INTO app.regions VALUES ('north'), ('south');
CREATE TABLE app.people (
  id integer PRIMARY KEY, email text NOT NULL, region text NOT NULL, notes text NOT NULL,
  born date NOT NULL, plan text NOT NULL DEFAULT 'basic');
INSERT INTO app.people
SELECT i, 'zz-secret-' || i || '@vault.example', CASE WHEN i % 2 = 0 THEN 'north' ELSE 'south' END,
  'card 4111111111111111 on file', date '1980-01-01' + i FROM generate_series(1, 6) AS i;
CREATE TABLE app.orders (id integer PRIMARY KEY, status text NOT NULL, note text NOT NULL);
INSERT INTO app.orders SELECT i, 'new', 'open-' || i FROM generate_series(1, 6) AS i;
CREATE TABLE hidden.orders (id integer PRIMARY KEY, status text NOT NULL, note text NOT NULL);
INSERT INTO hidden.orders SELECT i, 'new', 'zz-secret-' || i FROM generate_series(1, 6) AS i;
CREATE TABLE app.payroll (id integer PRIMARY KEY, pay text NOT NULL);
INSERT INTO app.payroll VALUES (1, 'zz-secret-pay');
CREATE TABLE app.visits (
  id integer PRIMARY KEY, region text NOT NULL REFERENCES app.regions ON DELETE SET NULL
    ON UPDATE CASCADE, visitor text NOT NULL, CHECK (region <> 'closed'));
INSERT INTO app.visits VALUES (1, 'north', 'zz-secret-visitor');
CREATE VIEW app.contacts AS SELECT id, email AS address, region FROM app.people;
CREATE VIEW app.open_orders AS SELECT * FROM app.orders WHERE status <> 'done';
CREATE VIEW app.late_orders AS SELECT * FROM app.open_orders;
CREATE FUNCTION app.label(integer) RETURNS text LANGUAGE sql AS $$ SELECT 'label' $$;
CREATE VIEW app.upper_contacts AS SELECT id, upper(address) AS address FROM app.contacts;
CREATE VIEW app.whole AS SELECT p AS person, to_jsonb(p) AS document FROM app.people p;
CREATE MATERIALIZED VIEW app.kept AS SELECT id, email AS address FROM app.people;
CREATE TABLE app.log (at date NOT NULL, who text NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE app.log_2020 PARTITION OF app.log FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE app.log_2021 PARTITION OF app.log FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
INSERT INTO app.log VALUES ('2020-02-02', 'zz-secret-a'), ('2021-02-02', 'zz-secret-b');
CREATE TABLE app.base (id integer, secret text);
CREATE TABLE app.child (more text) INHERITS (app.base);
INSERT INTO app.child VALUES (1, 'zz-secret-child', 'more');
CREATE TYPE app.pair AS (a text, b text);
CREATE DOMAIN app.mail AS text CHECK (VALUE <> '');
CREATE TABLE app.parted (id integer, note text) PARTITION BY LIST (id);
CREATE TABLE app.parted_1 PARTITION OF app.parted FOR VALUES IN (1);
INSERT INTO app.parted VALUES (1, 'x');
CREATE FUNCTION app.tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE NOTICE 'it is %', (SELECT min(email) FROM app.people);
  RAISE EXCEPTION 'it is %', (SELECT min(email) FROM app.people) USING ERRCODE = '23514';
END $$;
CREATE TRIGGER tell BEFORE UPDATE ON app.parted_1 FOR EACH ROW EXECUTE FUNCTION app.tell();
CREATE TABLE app.roots (id integer PRIMARY KEY);
INSERT INTO app.roots VALUES (1);
CREATE TABLE app.leaves (root integer REFERENCES app.roots ON DELETE CASCADE ON UPDATE CASCADE);
INSERT INTO app.leaves VALUES (1);
CREATE TRIGGER tell BEFORE UPDATE OR DELETE ON app.leaves
  FOR EACH ROW EXECUTE FUNCTION app.tell();
CREATE FUNCTION app.check_it(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'it is %', (SELECT min(email) FROM app.people); END $$;
CREATE DOMAIN app.checked AS text CHECK (app.check_it(VALUE));
CREATE FUNCTION app.peek(box) RETURNS text LANGUAGE sql AS $$ SELECT min(email) FROM app.people $$;
CREATE CAST (box AS text) WITH FUNCTION app.peek(box) AS IMPLICIT;
CREATE FUNCTION app.peek(circle) RETURNS text LANGUAGE sql
  AS $$ SELECT min(email) FROM app.people $$;
CREATE CAST (circle AS text) WITH FUNCTION app.peek(circle);
CREATE FUNCTION app.peek(text, text) RETURNS text LANGUAGE sql
  AS $$ SELECT min(email) FROM app.people $$;
CREATE OPERATOR app.## (LEFTARG = text, RIGHTARG = text, FUNCTION = app.peek);
CREATE AGGREGATE app.gather(text) (SFUNC = app.peek, STYPE = text);
CREATE FUNCTION app.defaulted() RETURNS text LANGUAGE plpgsql
  AS $$ BEGIN RAISE EXCEPTION 'it is %', (SELECT min(email) FROM app.people); END $$;
CREATE TABLE app.fresh (id integer, told text DEFAULT app.defaulted());
CREATE TABLE app.jobs (id integer PRIMARY KEY, state text NOT NULL);
INSERT INTO app.jobs VALUES (1, 'new');
CREATE FUNCTION app.on_job() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER on_job BEFORE UPDATE ON app.jobs FOR EACH ROW EXECUTE FUNCTION app.on_job();
CREATE TABLE lab.notes (id integer, body text);
"""

TASKS = """
kind: Task
name: masked
resource: target
for: {groups: [testers]}
permit:
  - select:
      - app.people
      - app.orders
      - app.contacts
      - app.upper_contacts
      - app.whole
      - app.kept
      - "app.log*"
      - app.base
      - app.child
      - "@catalog"
mask:
  - {columns: [app.people.email], as: redact}
  - {columns: [app.log.who, app.base.secret], as: redact}
  - {kinds: [credit_card], as: redact}
---
kind: Task
name: narrow
resource: target
for: {groups: [testers]}
permit:
  - select: [app.orders]
---
kind: Task
name: keeper
resource: target
for: {groups: [testers]}
permit:
  - select: [app.orders, app.open_orders, app.late_orders, app.jobs, app.people, "lab.*"]
hold:
  - update: [app.orders, app.open_orders, app.late_orders, app.jobs]
    for: {groups: [leads], people: 1, within: 5m}
  - select: [app.payroll]
    for: {groups: [leads], people: 1, within: 5m}
  - call: [app.label]
    for: {groups: [leads], people: 1, within: 5m}
---
kind: Task
name: maker
resource: target
for: {groups: [testers]}
permit:
  - select: [app.people, app.orders, "lab.*", "pg_temp.*"]
  - create: ["lab.*", "pg_temp.*"]
  - insert: ["lab.*", "pg_temp.*"]
  - drop: ["lab.*", "pg_temp.*"]
hold:
  - select: [app.payroll]
    for: {groups: [leads], people: 1, within: 5m}
mask:
  - {columns: [app.people.email], as: redact}
  - {kinds: [credit_card], as: redact}
---
kind: Task
name: editor
resource: target
for: {groups: [testers]}
permit:
  - select: [app.people, app.parted, app.roots, app.fresh, "lab.*"]
  - write: [app.people, app.parted, app.roots, app.fresh, "lab.*"]
mask:
  - {columns: [app.people.email], as: redact}
---
kind: Task
name: clerk
resource: target
for: {groups: [testers]}
permit:
  - select: [app.regions, "app.visits(id, region)"]
  - write: [app.regions]
  - update: ["app.visits(region)"]
mask:
  - {columns: [app.visits.visitor], as: redact}
---
kind: Task
name: everything
resource: target
for: {groups: [testers]}
permit:
  - any: ["*"]
---
kind: Task
name: everything-masked
resource: target
for: {groups: [testers]}
permit:
  - any: ["*"]
mask:
  - {columns: [app.people.email], as: redact}
  - {kinds: [credit_card], as: redact}
"""


class Session(Wire):
    """A signed-in client that keeps every byte it is sent."""

    def __init__(self, live: "Live", task: str) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        super().__init__(live.setting, task, live.token(task))
        self.socket.settimeout(PATIENCE_S)

    def next(self) -> tuple[str, bytes]:
        kind, body = super().next()
        self.bodies.append((kind, body))
        return kind, body

    def until_ready(self) -> list[str]:
        """As in Wire, but "held" ends it too: the gate's word that somebody has to approve."""
        kinds: list[str] = []
        while not kinds or kinds[-1] not in ("Z", "eof", "held"):
            kind, body = self.next()
            kinds.append("held" if kind == "N" and b"held for approval" in body else kind)
        return kinds

    def cycles(self, number: int, *pieces: bytes) -> str:
        """Sends all pieces in one write; the types of what answers, up to that many ready, the end
        of the connection or a hold."""
        self.send(b"".join(pieces))
        kinds: list[str] = []
        for _ in range(number):
            kinds += self.until_ready()
            if kinds[-1] != "Z":
                break
        return "".join(kinds)

    def leave(self) -> bool:
        """Puts everything as it was; whether another case may go on with the connection."""
        if not self.bodies or self.bodies[-1][0] != "Z":
            return not self.bodies
        texts = ("ROLLBACK", "DEALLOCATE ALL", "CLOSE ALL", "RESET ALL")
        return all(self.ask(text).endswith("Z") for text in texts)

    def ask(self, text: str) -> str:
        """A simple query; the types of the messages that answer it."""
        return self.cycles(1, query(text))

    def run(self, text: str, **named: str) -> str:
        """The same by the extended protocol."""
        return self.cycles(1, *extended(text, **named), SYNC)

    @property
    def seen(self) -> bytes:
        """Everything that came."""
        return b"\n".join(body for _, body in self.bodies)

    @property
    def states(self) -> list[str]:
        """The SQLSTATEs of all errors so far."""
        return [error["C"] for error in self.errors]

    def rows(self, start: int = 0) -> list[list[bytes | None]]:
        """The rows of all answers, those of COPY too, from message `start` on."""
        found: list[list[bytes | None]] = []
        for kind, body in self.bodies[start:]:
            if kind == "D":
                found.append(list(messages.parse_data_row(message(kind, body))))
            elif kind == "d" and body.startswith(_SIGNATURE):
                found.append([body[19:]])
            elif kind == "d" and body != b"\xff\xff":
                found.append([body])
        return found


# How a binary COPY starts.
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"


def query(text: str) -> bytes:
    return messages.encode_query(text)


def parse(name: str, text: str, *types: int) -> bytes:
    return messages.encode_parse(messages.Parse(name, text, types))


def bind(
    portal: str, statement: str, *values: bytes | None, formats: tuple[int, ...] = ()
) -> bytes:
    return messages.encode_bind(messages.Bind(portal, statement, (), values, formats))


def execute(portal: str = "", most: int = 0) -> bytes:
    return messages.encode_execute(portal, most)


def close(kind: str, name: str) -> bytes:
    return messages.encode_close(messages.STATEMENT if kind == "S" else messages.PORTAL, name)


def extended(text: str, statement: str = "", portal: str = "") -> tuple[bytes, ...]:
    return parse(statement, text), bind(portal, statement), execute(portal)


SYNC = message("S")
FLUSH = message("H")


@dataclass(frozen=True, slots=True)
class Live:
    """The gateway, and what is behind it."""

    setting: Setting
    _tokens: dict[str, str] = field(default_factory=dict)
    _idle: dict[str, Session] = field(default_factory=dict)

    def token(self, task: str) -> str:
        """One grant serves all cases: a person has only so many."""
        if task not in self._tokens:
            self._tokens[task] = self.setting.gate.grant(task)
        return self._tokens[task]

    @contextmanager
    def session(self, task: str) -> Iterator[Session]:
        """A client; the same connection serves several cases, as a pool's would."""
        found = self._idle.pop(task, None) or Session(self, task)
        found.errors.clear()
        found.bodies.clear()
        try:
            yield found
            usable = found.leave()
        except BaseException:
            usable = False
            raise
        finally:
            if usable and task not in self._idle:
                self._idle[task] = found
            else:
                found.socket.close()

    def close(self) -> None:
        while self._idle:
            self._idle.popitem()[1].socket.close()

    def connect(self, task: str) -> "psycopg.Connection[tuple[object, ...]]":
        return self.setting.connect(task, self.token(task))

    def behind(self, sql: str) -> str:
        return self.setting.behind(sql)

    def forget(self) -> None:
        """Has the gate look every name up anew: it saw what was changed back behind it."""
        with self.connect("everything") as connection:
            connection.execute("CREATE TABLE lab.passing ()")
            connection.execute("DROP TABLE lab.passing")

    @property
    def major(self) -> int:
        return self.setting.server.major

    def waiting(self) -> set[str]:
        """The approvals that somebody waits for."""
        asked = self.setting.gate.own.ask("lead", "GET", "/v1/approvals")
        return {str(one["id"]) for one in asked if one["state"] == "waiting"}

    def approve(self, approval: str) -> None:
        self.setting.gate.own.ask("lead", "POST", f"/v1/approvals/{approval}/approve", {})

    @contextmanager
    def approving(self, meanwhile: str = "") -> Iterator[list[str]]:
        """The lead approves whatever is asked first, after `meanwhile` was run behind the gate;
        the list has it once it was."""
        done: list[str] = []
        over = threading.Event()
        # A client that has just gone may have left one, which nobody takes up any more.
        before = self.waiting()

        def work() -> None:
            asked = ""
            while not asked and not over.wait(0.05):
                asked = next(iter(self.waiting() - before), "")
            if asked:
                if meanwhile:
                    with suppress(ClusterFault):
                        self.behind(f"SET lock_timeout = '300ms'; BEGIN; {meanwhile}; COMMIT")
                        done.append(meanwhile)
                self.approve(asked)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield done
        finally:
            over.set()
            thread.join()
