"""The ten promises of the design, one test each, with real clients through a real gateway.

Each docstring says which one-line break of the code was tried, and made the test fail.
"""

import base64
import json
import math
import os
import re
import resource
import subprocess
import time
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import errors

from taskgate.demo.gate import GateFault
from tests.end_to_end.test_holds import decide, waiting
from tests.end_to_end.wire import Wire, message
from tests.faults.faulty import Faulty
from tests.patience import PATIENCE_S, eventually, within
from tests.recorded import contents
from tests.servers import PASSWORD

UPDATE = "UPDATE shop.orders SET status = 'cancelled' WHERE id = {}"
STATUS = "SELECT status FROM shop.orders WHERE id = {}"
SOON_S = 1.5

UNKNOWN = {
    "cannot be parsed": "SELEC 4711",
    "cannot be attributed": "SELECT 4711 FROM nowhere.at_all",
    "is named by no rule": "SELECT 4711 FROM shop.staff",
    "calls what no rule names": "SELECT pg_catalog.pg_read_file('4711')",
    "hides what it does": "DO $$ BEGIN PERFORM 4711; END $$",
    "does one thing more": "SELECT 4711; CREATE TABLE t (a int)",
}


def test_promise_01_default_deny(promised: Faulty) -> None:
    """Break tried: `judge` answers PERMIT where no rule matches and `otherwise` is deny."""
    with promised.connect("report") as connection:
        connection.execute("SELECT 1")
        mark = promised.server.log_size()
        for text in UNKNOWN.values():
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(text.encode())
            assert caught.value.sqlstate in ("42501", "42601", "42P01", "3F000"), text
        reached = promised.server.statements_since(mark)
        assert not [said for said in reached if "4711" in said and "pg_catalog" not in said]
        assert connection.execute("SELECT 2").fetchone() == (2,)
    with Wire(promised, "report") as wire:
        wire.send(message("\x7f", b"4711"))
        assert wire.until_ready() == ["E", "eof"], "a session whose state is lost goes on"


def test_promise_02_whole_and_first(promised: Faulty) -> None:
    """Break tried: `_query_slowly` puts the frame into `to_upstream` before it is held."""
    with Wire(promised, "fix") as wire:
        wire.query("SELECT 1")
        mark = promised.server.log_size()
        half = message("Q", UPDATE.format(61).encode() + b"\0")
        wire.send(half[:-5])
        time.sleep(0.2)
        wire.send(half[-5:])
        asked = waiting(promised, "id = 61")
        time.sleep(0.2)
        assert "UPDATE" not in promised.server.log_since(mark)
        decide(promised, "lead", asked["id"], "deny", reason="no")
        assert wire.until_ready()[-2:] == ["E", "Z"]
        assert wire.query("SELECT id FROM shop.orders WHERE id = 61; DROP TABLE shop.orders") == [
            "E",
            "Z",
        ]
        assert "UPDATE" not in promised.server.log_since(mark)
        assert "DROP" not in promised.server.log_since(mark)


def test_promise_03_recorded_before_sent(promised: Faulty) -> None:
    """Break tried: `PostgresSession._send` without `self.recording.flush()`."""
    mark = promised.server.log_size()
    with promised.connect("everything") as connection:
        connection.execute("SELECT 1")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(connection.execute, "SELECT pg_sleep(60), 'in flight'")
            eventually(lambda: "in flight" in promised.server.log_since(mark), "it was not sent")
            promised.own.kill()
            with pytest.raises(psycopg.OperationalError):
                running.result(PATIENCE_S)
    promised.own.start()
    assert promised.verify().whole
    assert promised.events("recording.recovered")
    promised.recorded("request.permitted", "in flight")

    with promised.connect("everything") as connection:
        connection.execute("SELECT 1")
        soft, hard = resource.prlimit(promised.own.pid, resource.RLIMIT_FSIZE)
        mark = promised.server.log_size()
        # From now on no file of the gateway's can grow: its disk is full.
        resource.prlimit(promised.own.pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            with pytest.raises(psycopg.Error, match="cannot be written"):
                connection.execute("SELECT 'unrecorded'")
        finally:
            resource.prlimit(promised.own.pid, resource.RLIMIT_FSIZE, (soft, hard))
        assert connection.closed
    assert "unrecorded" not in promised.server.log_since(mark)
    promised.well()


def test_promise_04_the_credential_stays(promised: Faulty) -> None:
    """Breaks tried: `Opening._connect` logs `(await self._secrets_of(resource)).password`; the
    grant store keeps the token in place of its hash."""
    token = promised.gate.grant("everything")
    heard = b""
    with Wire(promised, "everything", token) as wire:
        for text in ("SELECT * FROM pg_stat_activity", "SHOW ALL", "SELEC", "SELECT 1/0"):
            wire.send(message("Q", text.encode() + b"\0"))
            while True:
                kind, body = wire.next()
                heard += body
                if kind == "Z":
                    break
    # One token in 62 ends with an x of its own.
    mistyped = token[:-1] + ("y" if token[-1] == "x" else "x")
    for task in ("everything", "nothing-of-the-kind"):
        with pytest.raises(psycopg.OperationalError) as caught:
            promised.connect(task, mistyped)
        heard += str(caught.value).encode()
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, check=True).stdout
    places = {"the client's traffic": heard, "ps": listed}
    for path, content in contents(promised.own.directory).items():
        if promised.own.profiles not in path.parents:
            places[str(path)] = content
    places["metrics"] = _get(promised, "/metrics")
    assert any("recordings" in place for place in places)
    assert any("taskgate.db" in place for place in places)
    for place, content in places.items():
        if place.endswith("master.key"):
            continue
        for secret in (PASSWORD, token):
            for form in _forms(secret):
                assert form not in content, f"a secret is in {place}"
    mode = (promised.own.state / "taskgate.db").stat().st_mode
    assert mode & 0o077 == 0


def _forms(secret: str) -> set[bytes]:
    """How a secret may be written down."""
    plain = secret.encode()
    return {
        plain,
        json.dumps(secret)[1:-1].encode(),
        base64.b64encode(plain).rstrip(b"="),
        plain.hex().encode(),
        urllib.parse.quote(secret).encode(),
    }


def _get(promised: Faulty, path: str) -> bytes:
    with urllib.request.urlopen(
        promised.own.url + path, timeout=PATIENCE_S, context=promised.own._trusting()
    ) as answer:
        found = answer.read()
    assert isinstance(found, bytes)
    return found


def test_promise_05_masked_means_gone(promised: Faulty) -> None:
    """Break tried: `plan_rows` answers None, as where no mask matches."""
    secret = promised.behind("SELECT email FROM shop.customers WHERE id = 3")
    assert "@" in secret
    own = "SELECT {} FROM shop.customers WHERE id = 3"
    seen: list[str] = []
    with promised.connect("report") as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda d: notices.append(str(d.message_primary)))
        for expression in ("email", "email AS id", "upper(email)", "email || ''", "customers"):
            for binary in (False, True):
                with connection.cursor(binary=binary) as cursor:
                    try:
                        seen.append(str(cursor.execute(own.format(expression)).fetchall()))
                    except psycopg.Error as error:
                        seen.append(str(error))
        for text in (
            f"COPY ({own.format('email')}) TO STDOUT",
            f"COPY ({own.format('email')}) TO STDOUT (FORMAT csv)",
        ):
            with connection.cursor().copy(text) as copy:
                seen.append(b"".join(bytes(piece) for piece in copy).decode())
        for failing in ("email::int", "CAST(email AS date)", "1 / (length(email) - length(email))"):
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(own.format(failing))
            seen.append(str(caught.value) + str(caught.value.diag.context))
        seen += notices
    assert "@" in seen[0], "a partial mask leaves the shape"
    for text in seen:
        assert secret.lower() not in text.lower()
        assert secret.partition("@")[0].lower() not in text.lower()
    kept = b"".join(contents(promised.own.recordings).values())
    for content in (kept, promised.own.log.read_bytes(), _get(promised, "/metrics")):
        assert secret.encode() not in content
    promised.recorded("request.finished", "masked")


def test_promise_06_live_revocation(promised: Faulty) -> None:
    """Break tried: `TaskGate.ended` answers None, and `Sessions.grants_ended` returns at once."""

    def revoked_s() -> float:
        running_token, grant = promised.grant_of("fix")
        with (
            promised.connect("fix", running_token) as connection,
            promised.connect("fix", running_token) as idle,
            ThreadPoolExecutor(1) as pool,
        ):
            held = pool.submit(connection.execute, UPDATE.format(62))
            asked = waiting(promised, "id = 62")
            began = time.monotonic()
            promised.own.ask("operator", "DELETE", f"/v1/grants/{grant}")
            with pytest.raises(psycopg.Error, match=r"revoked|ended|over"):
                held.result(PATIENCE_S)
            took_s = time.monotonic() - began
            with pytest.raises(psycopg.Error):
                idle.execute("SELECT 1")
            assert idle.closed
        with pytest.raises(psycopg.OperationalError):
            promised.connect("fix", running_token)
        with pytest.raises(GateFault):
            decide(promised, "lead", asked["id"], "approve")
        return took_s

    within(SOON_S, revoked_s)

    def outlived_s() -> float:
        """How much longer than its grant a session that began late has lasted."""
        lasts_s = 4.0
        short = promised.own.grant("operator", "everything", lasts_s=lasts_s)
        issued = time.monotonic()
        time.sleep(SOON_S + 0.5)
        try:
            late = promised.connect("everything", short)
        except psycopg.OperationalError:
            # Too late: this machine was busy elsewhere.
            return math.inf
        with late, pytest.raises(psycopg.Error, match=r"expired|over|cancel"):
            late.execute("SELECT pg_sleep(60)")
        return time.monotonic() - issued - lasts_s

    # It has what is left of the grant, not all of it anew.
    within(SOON_S, outlived_s)


def test_promise_07_approvals_bind(promised: Faulty) -> None:
    """Breaks tried: `_judge_again` does not compare digests; `ensure_may_vote` lets the requester
    vote."""
    promised.behind("UPDATE shop.orders SET status = 'paid' WHERE id IN (63, 64)")
    with promised.connect("fix") as connection, ThreadPoolExecutor(1) as pool:
        text = UPDATE.format("%s")
        first = pool.submit(connection.execute, text, [63], prepare=True)
        asked = waiting(promised, "UPDATE shop.orders")
        assert len(asked["parameters"]) == 1
        with pytest.raises(GateFault):
            decide(promised, "operator", asked["id"], "approve")
        decide(promised, "lead", asked["id"], "approve")
        assert first.result(PATIENCE_S).rowcount == 1
        # The same text with another value is another request, and asks anew.
        second = pool.submit(connection.execute, text, [64], prepare=True)
        other = waiting(promised, "UPDATE shop.orders")
        assert other["id"] != asked["id"]
        with pytest.raises(GateFault):
            decide(promised, "lead", asked["id"], "approve")
        assert not second.done()
        decide(promised, "lead", other["id"], "deny", reason="not this one")
        with pytest.raises(errors.InsufficientPrivilege):
            second.result(PATIENCE_S)
    # The requester never approves, though they are one of those who may.
    own = promised.own.grant("lead", "two-keys")
    with promised.connect("two-keys", own) as connection, ThreadPoolExecutor(1) as pool:
        alone = pool.submit(connection.execute, UPDATE.format(64))
        asked = waiting(promised, "id = 64", "second")
        with pytest.raises(GateFault, match="requested"):
            decide(promised, "lead", asked["id"], "approve")
        connection.cancel()
        with pytest.raises(psycopg.Error):
            alone.result(PATIENCE_S)
    assert promised.behind(STATUS.format(63)) == "cancelled"
    assert promised.behind(STATUS.format(64)) == "paid"

    view = "CREATE OR REPLACE VIEW shop.to_fix AS SELECT id, status FROM shop.orders WHERE {}"
    promised.behind(view.format("id < 100"))
    promised.behind("GRANT SELECT ON shop.to_fix TO public")
    with promised.connect("fix-view") as connection, ThreadPoolExecutor(1) as pool:
        update = "UPDATE shop.to_fix SET status = 'cancelled' WHERE id = 64"
        third = pool.submit(connection.execute, update)
        asked = waiting(promised, "shop.to_fix")
        promised.behind(view.format("id < 100000"))
        decide(promised, "lead", asked["id"], "approve")
        with pytest.raises(errors.InsufficientPrivilege, match="changed"):
            third.result(PATIENCE_S)
    assert promised.behind(STATUS.format(64)) == "paid"


def test_promise_08_bounded(promised: Faulty) -> None:
    """Break tried: `PostgresSession._regulate` reads the resource whether or not the client takes
    what it is sent. The caps one by one: tests/promises/test_caps.py."""
    with Wire(promised, "everything") as wire:
        wire.query("SELECT 1")
        before_kib = promised.rss_kib()
        text = b"SELECT repeat('x', 1000) FROM generate_series(1, 500000)\0"
        wire.send(message("Q", text))
        most = 0
        end = time.monotonic() + 2
        while time.monotonic() < end:
            most = max(most, promised.rss_kib() - before_kib)
            time.sleep(0.05)
        assert most < 48 * 1024
        # And read after all, it is whole: nothing was dropped to stay small.
        rows = 0
        while (kind := wire.next()[0]) != "Z":
            rows += kind == "D"
        assert rows == 500_000


SESSION = (
    r"\d shop.orders",
    r"\dt shop.*",
    "BEGIN",
    "SELECT id, status FROM shop.orders ORDER BY id LIMIT 3",
    "SAVEPOINT a",
    "SELECT 1/0",
    "ROLLBACK TO a",
    "COPY (SELECT id FROM shop.orders ORDER BY id LIMIT 2) TO STDOUT",
    "COMMIT",
    "SELECT nosuch FROM shop.orders",
    r"\echo :LAST_ERROR_SQLSTATE :SERVER_VERSION_NUM",
    "SHOW server_version",
)


def test_promise_09_unchanged_clients(promised: Faulty) -> None:
    """Break tried: `Opening._welcome` sends no ParameterStatus."""
    through = promised.psql("everything", *SESSION)
    server = promised.server
    direct = subprocess.run(
        [server.bin / "psql", "-XqAt", "-v", "VERBOSITY=verbose",
         server.dsn_for("tg_super", promised.database), *(f"-c{one}" for one in SESSION)],
        capture_output=True, text=True, check=False, timeout=60,
        env={k: v for k, v in os.environ.items() if not k.startswith("PG")},
    )  # fmt: skip
    assert through.stdout == direct.stdout
    assert _told(through.stderr) == _told(direct.stderr)
    assert through.returncode == direct.returncode
    with promised.connect("everything") as gated, server.connect(promised.database) as plain:
        for name in ("server_version", "server_encoding", "TimeZone", "integer_datetimes"):
            shown = gated.info.parameter_status(name)
            assert shown == plain.info.parameter_status(name), name
        assert gated.info.transaction_status == plain.info.transaction_status


def _told(said: str) -> list[str]:
    """The errors, without where in the server's source they came from."""
    return [line for line in said.splitlines() if not line.startswith("LOCATION")]


def test_promise_10_explainable(promised: Faulty) -> None:
    """Break tried: `TaskGate.admit` records an empty rule."""
    text = "DELETE FROM shop.orders WHERE id = 4712"
    with promised.connect("report") as connection:
        with pytest.raises(errors.InsufficientPrivilege, match="reports never write") as caught:
            connection.execute(text)
        connection.execute("SELECT id FROM shop.orders WHERE id = 4712")
    told = str(caught.value.diag.message_primary)
    denied = promised.recorded("request.denied", "DELETE FROM shop.orders WHERE id = 4712")
    permitted = promised.recorded("request.permitted", "SELECT id FROM shop.orders WHERE id = 4712")
    for event in (denied, permitted):
        for fact in ("rule", "reason", "policy_version"):
            assert event.facts[fact], fact
        assert re.fullmatch("[0-9a-f]{64}", event.facts["policy_version"])
    assert denied.facts["rule"] in told
    assert caught.value.diag.message_hint
    shown = promised.own.command("operator", "policy", "explain", "--task", "report", text)
    assert shown.returncode in (0, 1, 4), shown.stderr
    assert "deny" in (shown.stdout + shown.stderr).lower()
    assert denied.facts["rule"] in shown.stdout + shown.stderr
