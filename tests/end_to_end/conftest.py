"""A whole gateway before each real server, with the demo's shop and tasks behind it."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

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
