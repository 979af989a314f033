"""A whole gateway before each real server, with the demo's shop and tasks behind it."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from taskgate.demo.gate import Person
from tests.gates import RunningGate, running_gate
from tests.servers import Server, Servers

ANALYST = Person("analyst", "reads and reports", ("analysts",))
LEAD = Person("lead", "approves", ("leads",))
SECOND_LEAD = Person("second", "approves too", ("leads",))
AUDITOR = Person("auditor", "reads records", ("auditors",))
ADMIN = Person("admin", "keeps users", ("admins",))
PEOPLE = (ANALYST, LEAD, SECOND_LEAD, AUDITOR, ADMIN)

TASKS = """
kind: Task
name: report
resource: target
for: {groups: [analysts, testers]}
permit:
  - select:
      - shop.orders
      - shop.products
      - shop.revenue_by_region
      - "shop.customers(id, name, email, region, notes)"
      - "@catalog"
deny:
  - {write: ["*"], define: ["*"], reason: reports never write}
mask:
  - {columns: [shop.customers.email], as: partial}
  - {kinds: [credit_card], as: redact}
---
kind: Task
name: fix
resource: target
for: {groups: [analysts, testers]}
permit:
  - select: [shop.orders]
hold:
  - update: ["shop.orders(status)"]
    for: {groups: [leads], people: 1, within: 1m}
---
kind: Task
name: fix-soon
resource: target
for: {groups: [testers]}
permit:
  - select: [shop.orders]
hold:
  - update: ["shop.orders(status)"]
    for: {groups: [leads], people: 1, within: 1s}
---
kind: Task
name: fix-view
resource: target
for: {groups: [testers]}
permit:
  - select: [shop.to_fix]
hold:
  - update: [shop.to_fix]
    for: {groups: [leads], people: 1, within: 1m}
---
kind: Task
name: two-keys
resource: target
for: {groups: [analysts, leads]}
permit:
  - select: [shop.orders]
hold:
  - update: ["shop.orders(status)"]
    for: {groups: [leads], people: 2, within: 1m}
---
kind: Task
name: writer
resource: target
for: {groups: [testers]}
permit:
  - select: ["shop.*"]
  - insert: [shop.audit_log]
  - call: [pg_catalog.nextval]
---
kind: Task
name: sized
resource: target
for: {groups: [testers]}
permit:
  - select: [shop.orders]
limits: {rows: 50, bytes: 100kB}
---
kind: Task
name: limited
resource: target
for: {groups: [testers]}
permit:
  - select: [shop.orders]
  - call: [pg_catalog.pg_sleep]
limits: {rows: 50, bytes: 100kB, statement: 2s}
---
kind: Task
name: everything
resource: target
for: {groups: [testers]}
permit:
  - any: ["*"]
---
kind: Role
name: auditors
for: {groups: [auditors]}
may: [audit, replay]
---
kind: Role
name: admins
for: {groups: [admins]}
may: [administer, author, revoke]
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A gateway, the server behind it, and the shop's database there."""

    gate: RunningGate
    server: Server
    database: str

    def psql(
        self, task: str, *commands: str, token: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """The psql of the server's own version, through the gate, under a fresh grant."""
        return subprocess.run(
            [self.server.bin / "psql", *self.arguments(task), *(f"-c{one}" for one in commands)],
            capture_output=True, text=True, check=False, timeout=60,
            env=self.environment(token or self.gate.grant(task)),
        )  # fmt: skip

    def connect(self, task: str, token: str = "") -> "psycopg.Connection[tuple[object, ...]]":
        """psycopg through the gate, under a fresh grant, in autocommit."""
        return psycopg.connect(
            host="127.0.0.1", port=self.gate.port, user=task, dbname=self.database,
            password=token or self.gate.grant(task), sslmode="verify-full",
            sslrootcert=str(self.gate.own.ca_file), autocommit=True,
        )  # fmt: skip

    def connect_as(self, person: str, task: str) -> "psycopg.Connection[tuple[object, ...]]":
        """The same as another person."""
        return self.connect(task, self.gate.own.grant(person, task))

    def grant_of(self, task: str) -> tuple[str, str]:
        """A fresh grant of the operator's: its token and its id."""
        asked = {"task": task, "reason": "a test"}
        made = self.gate.own.ask("operator", "POST", "/v1/grants", asked)
        return str(made["token"]), str(made["grant"]["id"])

    def arguments(self, task: str) -> list[str]:
        return [
            "-XqAt", "-v", "VERBOSITY=verbose", "-h", "localhost", "-p", str(self.gate.port),
            "-U", task, "-d", self.database,
        ]  # fmt: skip

    def environment(self, token: str) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        tls = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.gate.own.ca_file)}
        return {**own, "PGPASSWORD": token, **(tls if self.server.tls else {})}

    def behind(self, sql: str) -> str:
        """The server's own answer, past the gate."""
        return self.server.run(sql, database=self.database).strip()


@pytest.fixture(scope="session")
def setting(pg: Server, servers: Servers) -> Iterator[Setting]:
    """One gateway for all tests of a server version: starting one takes seconds."""
    database = pg.new_database("e2e", template=servers.shop(pg))
    with running_gate(pg, database, TASKS, people=PEOPLE) as gate:
        yield Setting(gate, pg, database)
    pg.drop_database(database)
