"""A whole gateway as a process of its own, before a test server: for end-to-end tests, driver
suites and the benchmark."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from taskgate.demo.cluster import free_port
from taskgate.demo.gate import OwnGate, Person, Ports
from tests.servers import PASSWORD, SUPERUSER, Server

OPERATOR = Person("operator", "takes up every task of a test", ("testers",))

RESOURCE = """
kind: Resource
name: target
protocol: postgres
address: 127.0.0.1:{port}
tls: {tls}
{ca}
credential: {{username: {user}, password: {{env: TARGET_PASSWORD}}}}
database: {database}
{databases}
"""

PERMIT_EVERYTHING = """
kind: Task
name: everything
description: Nothing is refused; what remains is what the gate itself cannot take
resource: target
for: {groups: [testers]}
lasts: {default: 4h, at_most: 4h}
permit:
  - any: ["*"]
"""


class RunningGate:
    """A gateway that is up, with `OPERATOR` signed in."""

    def __init__(self, own: OwnGate) -> None:
        self.own = own

    @property
    def port(self) -> int:
        """Where PostgreSQL clients connect, on 127.0.0.1."""
        return self.own.ports.postgres

    @property
    def pid(self) -> int:
        return self.own.pid

    def grant(self, task: str, person: Person = OPERATOR) -> str:
        """A fresh grant of `task`; its token, the connection's password."""
        return self.own.grant(person.name, task)


@contextmanager
def running_gate(
    server: Server,
    database: str,
    *tasks: str,
    people: tuple[Person, ...] = (),
    user: str = SUPERUSER,
    durability: str = "process",
    files: Mapping[str, str] | None = None,
    databases: tuple[str, ...] = (),
    more: Mapping[str, object] | None = None,
    secrets: Mapping[str, str] | None = None,
) -> Iterator[RunningGate]:
    """A gateway of its own before `server`, with resource `target` and the given task documents.

    `user` is whom the gate signs in as at the server. `files` are further policy files,
    `databases` those that clients may name besides `database`, `more` further keys of the
    gateway's configuration, `secrets` further variables of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="tg-gate-") as directory:
        own = OwnGate(
            Path(directory),
            Ports(free_port(), free_port()),
            secrets={"TARGET_PASSWORD": PASSWORD, **(secrets or {})},
        )
        resource = RESOURCE.format(
            port=server.port,
            tls="verify-full" if server.tls else "disable",
            ca=f"ca_file: {server.ca_file}" if server.tls else "",
            user=user,
            database=database,
            databases=f"databases: [{', '.join((database, *databases))}]" if databases else "",
        )
        own.configure(
            {"target.yaml": resource, "tasks.yaml": "---\n".join(tasks), **(files or {})},
            durability=durability,
            more=more,
        )
        everyone = (OPERATOR, *people)
        own.add_people(everyone)
        own.start()
        try:
            own.sign_in(*everyone)
            yield RunningGate(own)
        finally:
            own.stop()
