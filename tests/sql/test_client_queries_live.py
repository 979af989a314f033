"""What psql and pg_dump send of their own accord is understood whole, and needs little more than
the catalog: `@catalog`, safe functions and safe settings. The rest is named here.

The queries are those that each client's own version sends to a server of its version.
"""

import os
import pty
import re
import subprocess
import time
from collections.abc import Iterable

import pytest

from taskgate.sql.analyse import Analysis, SessionNames, StatementFacts, analyse
from taskgate.sql.catalog import Catalog, catalog_query, parse_catalog_answer
from taskgate.sql.script import Script, parse_script
from tests.patience import eventually
from tests.readable import is_readable
from tests.servers import PASSWORD, SUPERUSER
from tests.sql.conftest import LiveWorld

META = [
    r"\d", r"\d+", r"\d sales.customers", r"\d+ sales.customers", r"\d sales.events",
    r"\d+ sales.events_2024", r"\d+ sales.active", r"\d+ sales.totals", r"\d app.seq",
    r"\d+ app.people", r"\d+ app.logged", r"\d+ app.ruled", r"\dt", r"\dt+", r"\dt *.*", r"\dv",
    r"\dm", r"\ds", r"\di+", r"\df", r"\df+ app.*", r"\l", r"\l+", r"\du", r"\du+", r"\dn", r"\dn+",
    r"\dp", r"\dT", r"\dT+ app.*", r"\dD", r"\dx", r"\db", r"\dc", r"\dC", r"\dd", r"\ddp", r"\dF",
    r"\dg", r"\dL", r"\do ===", r"\dO", r"\dP", r"\dy", r"\dX", r"\dA", r"\sf app.get_email",
    r"\sv sales.active", r"\z", r"\conninfo",
]  # fmt: skip
# Typed at psql's prompt, each followed by two tabs.
TYPED = [
    "select * from sal", "select * from sales.cu", "update sales.customers set na", "drop table ",
    "set search_path to ", "set sea", r"\d sal", "insert into sales.orders (", "alter role ",
    "select app.g", "drop function app.", "show work", r"\df app.", "grant select on sales.c",
    "truncate ", "refresh materialized view ", r"\du ", r"\c ", "drop index ", "call app.",
    "alter table sales.customers drop constraint ", "listen ", "execute ",
]  # fmt: skip

# What psql asks beyond the catalog proper, by the command that asks it.
NOT_METADATA = {
    r"\drds": {"select pg_catalog.pg_db_role_setting"},
    r"\deu": {"select pg_catalog.pg_user_mappings"},
    r"\dconfig search_path": {"call pg_catalog.current_setting"},
}
# What pg_dump asks beyond the catalog and the tables it dumps, version by version. A task for
# pg_dump names these.
DUMP_NEEDS = {
    "set row_security",
    "select pg_catalog.pg_foreign_data_wrapper",
    "select pg_catalog.pg_foreign_server",
    "select pg_catalog.pg_subscription",
    "call pg_catalog.pg_get_sequence_data",
}


def _beyond(facts: Iterable[StatementFacts]) -> set[str]:
    """What needs a rule of its own, as `verb object`."""
    return {
        f"{a.verb} {a.object}"
        for one in facts
        for a in one.actions
        if not a.via
        and a.kind not in ("builtin", "safe_setting", "metadata")
        and a.verb != "transaction"
    }


class _Session:
    """Statements in the order of one session, with what earlier ones prepared."""

    def __init__(self, world: LiveWorld) -> None:
        self.world = world
        self.prepared: dict[str, Script] = {}
        self.found: list[StatementFacts] = []

    def read(self, text: str) -> None:
        script = parse_script(text)
        catalog: Catalog = self.world.catalog
        for _ in range(40):
            found = analyse(script, catalog, SessionNames(prepared=self.prepared))
            if isinstance(found, Analysis):
                break
            row = self.world.connection.execute(catalog_query(found.names).encode()).fetchone()
            assert row is not None
            catalog.add(parse_catalog_answer(str(row[0])), now=0.0)
        assert isinstance(found, Analysis)
        for facts in found.statements:
            assert not facts.unclear, text
            self.found.append(facts)
            if facts.effects.prepares is not None:
                self.prepared[facts.effects.prepares[0]] = facts.effects.prepares[1]


def _logged(log: str, user: str) -> list[str]:
    """The statements in a server's log, lines of one statement joined."""
    found: list[list[str]] = []
    taking = False
    for line in log.split("\n"):
        if line.startswith("\t") and taking:
            found[-1].append(line[1:])
            continue
        match = re.match(r".* \[\d+\] (\S*) LOG:  (?:statement|execute [^:]*): (.*)$", line)
        taking = match is not None and match.group(1).startswith(user)
        if match is not None and taking:
            found.append([match.group(2)])
    return ["\n".join(lines) for lines in found]


def _environment(world: LiveWorld, application: str) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": world.server.host,
        "PGPORT": str(world.server.port),
        "PGUSER": SUPERUSER,
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": world.database,
        "PGSSLMODE": "prefer",
        "PGAPPNAME": application,
        "PSQLRC": os.devnull,
        "PAGER": "cat",
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
    }


def _sent(world: LiveWorld, application: str, *command: str) -> list[str]:
    mark = world.server.log_size()
    done = subprocess.run(
        command,
        env=_environment(world, application),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return _logged(world.server.log_since(mark), f"{SUPERUSER}@{world.database}/{application}")


@pytest.mark.parametrize("command", [*META, *NOT_METADATA])
def test_psql_commands_need_the_catalog_only(live: LiveWorld, command: str) -> None:
    psql = str(live.server.bin / "psql")
    sent = _sent(live, "meta", psql, "-X", "-c", command)
    session = _Session(live)
    for text in sent:
        session.read(text)
    assert _beyond(session.found) == NOT_METADATA.get(command, set())
    if command != r"\conninfo":
        assert sent


def test_tab_completion_needs_the_catalog_only(live: LiveWorld) -> None:
    psql = str(live.server.bin / "psql")
    mark = live.server.log_size()
    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover - the child becomes psql
        os.execve(psql, ["psql", "-X"], _environment(live, "typing"))
    try:
        _until(terminal, b"=# ")
        for typed in TYPED:
            os.write(terminal, typed.encode() + b"\t\t")
            _drain(terminal, 0.25)
            os.write(terminal, b"\x15")
        os.write(terminal, b"\\q\n")
        _drain(terminal, 0.3)
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    sent = _logged(live.server.log_since(mark), f"{SUPERUSER}@{live.database}/typing")
    if not sent:
        pytest.skip("this psql is built without readline")
    session = _Session(live)
    for text in sent:
        session.read(text)
    assert _beyond(session.found) == set()


def _until(terminal: int, shown: bytes) -> None:
    """Reads what comes until `shown` is at its end: the prompt."""
    text = b""

    def look() -> bool:
        nonlocal text
        if is_readable(terminal, 0.05):
            text += os.read(terminal, 65536)
        return text.endswith(shown)

    eventually(look, "psql shows no prompt")


def _drain(terminal: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_readable(terminal, 0.05):
            try:
                os.read(terminal, 65536)
            except OSError:
                return


@pytest.mark.parametrize(
    ("arguments", "tables"),
    [
        (["-t", "sales.customers"], {"sales.customers"}),
        (["-a", "-t", "public.u"], {"public.u"}),
        (["-s", "-t", "sales.orders"], set()),
    ],
)
def test_pg_dump_needs_the_catalog_its_tables_and_little_more(
    live: LiveWorld, arguments: list[str], tables: set[str]
) -> None:
    sent = _sent(live, "pg_dump", str(live.server.bin / "pg_dump"), *arguments)
    session = _Session(live)
    for text in sent:
        session.read(text)
    beyond = _beyond(session.found) - DUMP_NEEDS
    # Every table that may be dumped is locked as a SELECT would lock it.
    assert beyond <= {f"select {t}" for t in tables} | {
        one for one in beyond if one.startswith("select ") and "pg_catalog" not in one
    }
    assert {f"select {t}" for t in tables} <= beyond
    assert not any(one.startswith(("call ", "execute ")) for one in beyond)
