"""Real PostgreSQL servers for tests: one of each supported installation, started once a run.

Every role's password is PASSWORD. How a role must sign in over TCP is in its name:
`tg_super` (superuser) and `tg_scram` by SCRAM-SHA-256, `tg_md5` by md5, `tg_clear` by cleartext
password, `tg_cert` by client certificate over TLS, `tg_tls_only` by SCRAM over TLS alone.

The wheel's PostgreSQL 18, its psql included, is built without TLS: `Server.tls` says so, and the
two last roles cannot sign in there. psycopg and asyncpg bring TLS of their own.
"""

import itertools
import os
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from taskgate.demo import seed
from taskgate.demo.cluster import (
    Cluster,
    Installation,
    embedded_installation,
    free_port,
    installation_at,
    runnable_by,
    server_account,
)
from tests.certificates import Authority, KeyPair

PASSWORD = "test-pässwörd"
SUPERUSER = "tg_super"
MAJORS = (15, 18)

_DEBIAN_BIN = Path("/usr/lib/postgresql/15/bin")
_HBA = (
    "host    all,replication tg_md5       127.0.0.1/32 md5",
    "host    all             tg_clear     127.0.0.1/32 password",
    "host    all,replication all          127.0.0.1/32 scram-sha-256",
)
_TLS_HBA = (
    "hostssl all             tg_cert      127.0.0.1/32 cert",
    "hostssl all             tg_tls_only  127.0.0.1/32 scram-sha-256",
    "host    all             tg_cert,tg_tls_only 127.0.0.1/32 reject",
)
_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "64MB",
    "max_prepared_transactions": "20",
    "wal_level": "logical",
    "log_statement": "all",
    "log_connections": "on",
    "log_disconnections": "on",
    "log_line_prefix": "%m [%p] %u@%d/%a ",
    "timezone": "UTC",
}
_TLS_SETTINGS = {
    "ssl": "on",
    "ssl_cert_file": "server.crt",
    "ssl_key_file": "server.key",
    "ssl_ca_file": "ca.crt",
}
_ROLES = """
SET password_encryption = 'md5';
CREATE ROLE tg_md5 LOGIN PASSWORD {password};
SET password_encryption = 'scram-sha-256';
CREATE ROLE tg_scram LOGIN PASSWORD {password};
CREATE ROLE tg_clear LOGIN PASSWORD {password};
CREATE ROLE tg_cert LOGIN;
CREATE ROLE tg_tls_only LOGIN PASSWORD {password};
GRANT pg_read_all_data, pg_write_all_data TO tg_scram;
GRANT CREATE ON DATABASE postgres TO tg_scram;
"""


def installation(major: int) -> Installation | None:
    """Debian's PostgreSQL 15, or 18 out of the wheel; None where it is not installed."""
    if major == 18:
        return embedded_installation()
    return installation_at(_DEBIAN_BIN) if (_DEBIAN_BIN / "postgres").exists() else None


@dataclass(slots=True)
class Server:
    """A running server. `bin` holds the psql, pgbench and pg_dump of its own version. `tls` says
    whether the server, and those programs, can speak it."""

    major: int
    tls: bool
    cluster: Cluster
    authority: Authority
    client_certificate: KeyPair
    host: str = "127.0.0.1"
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def port(self) -> int:
        return self.cluster.port

    @property
    def bin(self) -> Path:
        return self.cluster.installation.bin

    @property
    def ca_file(self) -> Path:
        return self.authority.certificate

    @property
    def dsn(self) -> str:
        """The superuser's, to database postgres."""
        return self.dsn_for(SUPERUSER)

    def dsn_for(self, user: str, database: str = "postgres", *, sslmode: str | None = None) -> str:
        """A libpq connection string over TCP, by default verify-full where the server has TLS
        and disable where not. Only `tg_cert` brings a client certificate."""
        sslmode = sslmode or ("verify-full" if self.tls else "disable")
        parts: dict[str, str | int] = {
            "host": self.host,
            "port": self.port,
            "user": user,
            "dbname": database,
            "sslmode": sslmode,
        }
        if sslmode != "disable":
            parts["sslrootcert"] = str(self.ca_file)
        if user == "tg_cert":
            parts["sslcert"] = str(self.client_certificate.certificate)
            parts["sslkey"] = str(self.client_certificate.key)
        else:
            parts["password"] = PASSWORD
        return make_conninfo("", **parts)

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object, ...]]":
        """The superuser, in autocommit: for setting things up and for looking behind the gate."""
        return psycopg.connect(self.dsn_for(SUPERUSER, database), autocommit=True)

    def run(self, script: str, database: str = "postgres") -> str:
        """Runs SQL by psql as the superuser over the private socket (no trace of TCP)."""
        return self.cluster.psql(script, database=database, superuser=SUPERUSER)

    def new_database(self, prefix: str = "t", template: str = "template1") -> str:
        """A fresh database of its own name; a copy of `template`, which nobody may be using."""
        name = f"{prefix}_{os.getpid()}_{next(self._numbers)}"
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(name), sql.Identifier(template)
                )
            )
        return name

    def drop_database(self, name: str) -> None:
        with self.connect() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )

    def log_size(self) -> int:
        """A mark for `log_since`, in bytes."""
        return self.cluster.log.stat().st_size

    def log_since(self, mark: int) -> str:
        """What the server logged after `mark`: every statement that reached it, verbatim."""
        with self.cluster.log.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")

    def statements_since(self, mark: int) -> list[str]:
        """The first line of each statement that reached the server after `mark`."""
        return re.findall(
            r"LOG:  (?:statement|execute [^:]*|fastpath function call): (.*)", self.log_since(mark)
        )


class Servers:
    """Starts each server when it is first asked for, and stops them all in `close`."""

    def __init__(self) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="tg-servers-"))
        self._root.chmod(0o755)
        self._running: dict[int, Server] = {}
        self._shops: dict[int, str] = {}

    def get(self, major: int) -> Server | None:
        """The server of that version; None where the programs are not installed."""
        if major not in self._running:
            found = installation(major)
            if found is None:
                return None
            self._running[major] = self._start(found)
        return self._running[major]

    def shop(self, server: Server) -> str:
        """The name of a template database with the demo's shop in it, small: 1 % of its rows."""
        if server.major not in self._shops:
            name = server.new_database("shop_template")
            server.run(seed.shop_sql(scale=0.01), database=name)
            server.run("ANALYZE", database=name)
            self._shops[server.major] = name
        return self._shops[server.major]

    def close(self) -> None:
        for server in self._running.values():
            server.cluster.stop()
        shutil.rmtree(self._root, ignore_errors=True)

    def _start(self, found: Installation) -> Server:
        account = server_account()
        directory = self._root / str(found.major)
        usable = runnable_by(account, found, self._root)
        cluster = Cluster(usable, directory, port=free_port(), account=account)
        cluster.create(superuser=SUPERUSER, password=PASSWORD, settings=_SETTINGS, hba=_HBA)
        authority = Authority(self._root / f"tls-{found.major}")
        tls = cluster.speaks_tls()
        if tls:
            pair = authority.issue("server", hosts=("127.0.0.1", "localhost", "::1"))
            for source, name in (
                (pair.certificate, "server.crt"),
                (pair.key, "server.key"),
                (authority.certificate, "ca.crt"),
            ):
                target = cluster.data / name
                shutil.copy(source, target)
                target.chmod(0o600)
                os.chown(target, account.uid, account.gid)
            cluster.configure(_TLS_SETTINGS)
            cluster.let_in((*_TLS_HBA, *_HBA))
        cluster.start()
        server = Server(found.major, tls, cluster, authority, authority.issue("tg_cert"))
        quoted = sql.Literal(PASSWORD).as_string(None)
        server.run(_ROLES.replace("{password}", quoted))
        return server
