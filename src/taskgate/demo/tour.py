"""The tour: every outcome that the demo promises, tried for real and checked."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from taskgate.demo.people import ADM, ANA, AUD, ENG, LEA
from taskgate.demo.shop import DATABASE, Shop
from taskgate.demo.visitor import PATIENCE_S, NotAsPromised, Said, Visitor, eventually
from taskgate.recording.layout import SUFFIX

MASKED_QUERY = "SELECT email FROM shop.customers ORDER BY id LIMIT 3"


@dataclass(frozen=True, slots=True)
class Stop:
    """One thing to see. `visit` returns what was seen, or raises NotAsPromised."""

    promise: str
    visit: Callable[[Visitor], str]


@dataclass(frozen=True, slots=True)
class Seen:
    """How one stop went."""

    promise: str
    seen: str
    kept: bool
    took_s: float


def _must(condition: bool, otherwise: str) -> None:
    if not condition:
        raise NotAsPromised(otherwise)


def _good(said: Said) -> str:
    _must(said.status == 0, f"failed: {_last(said.err)}")
    return said.out.strip()


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no word"


def _first_error(said: Said) -> str:
    return next((line for line in said.err.splitlines() if "ERROR" in line), _last(said.err))


def permitted(visitor: Visitor) -> str:
    regions = _good(
        visitor.psql(
            ANA,
            "sales-report",
            "SELECT region, sum(revenue) FROM shop.revenue_by_region GROUP BY region",
        )
    ).splitlines()
    _must(len(regions) == 4, f"{len(regions)} rows instead of 4")
    return f"{len(regions)} rows"


def plain_psql(visitor: Visitor) -> str:
    _good(visitor.cli(ANA, "request", "sales-report", "--reason", "psql by hand"))
    token = _good(visitor.cli(ANA, "token", "sales-report"))
    said = visitor.psql_by_hand("sales-report", token, "SELECT count(*) FROM shop.orders")
    _must(_good(said) == "25000", f"it said {said.out.strip()}")
    return "25000 orders"


def described(visitor: Visitor) -> str:
    tables = _good(visitor.psql(ANA, "sales-report", r"\dt shop.*", r"\d shop.orders"))
    _must("shop|orders|table" in tables and "placed_at|timestamp" in tables, "no table was shown")
    return "tables and columns are listed"


def refused(visitor: Visitor) -> str:
    before = visitor.shop.look("SELECT count(*) FROM shop.orders")
    said = visitor.psql(ANA, "sales-report", "DELETE FROM shop.orders WHERE id = 7")
    _must(said.status != 0, "the statement ran")
    _must("42501" in said.err, f"another error: {_last(said.err)}")
    _must("sales-report/deny[0]" in said.err, "the rule is not named")
    _must(visitor.shop.look("SELECT count(*) FROM shop.orders") == before, "rows are gone")
    return _first_error(said)


def column_refused(visitor: Visitor) -> str:
    said = visitor.psql(ANA, "sales-report", "SELECT national_id FROM shop.customers")
    _must("42501" in said.err and not said.out, f"it said {said.out[:60]} {_last(said.err)}")
    return _first_error(said)


def _real_addresses(visitor: Visitor) -> list[str]:
    return visitor.shop.look(MASKED_QUERY).split()


def masked_text(visitor: Visitor) -> str:
    shown = _good(visitor.psql(ANA, "sales-report", MASKED_QUERY)).splitlines()
    _must(len(shown) == 3, f"{len(shown)} rows instead of 3")
    _must(not set(shown) & set(_real_addresses(visitor)), "an address came through")
    return shown[0]


def masked_aliased(visitor: Visitor) -> str:
    query = "SELECT string_agg(upper(email), ' ') FROM (SELECT email FROM shop.customers LIMIT 3) t"
    shown = _good(visitor.psql(ANA, "sales-report", query))
    real = " ".join(_real_addresses(visitor)).upper().split()
    _must(not any(one in shown.upper() for one in real), "an address came through")
    return shown or "(empty)"


def masked_binary(visitor: Visitor) -> str:
    async def fetch() -> list[str]:
        connection = await _by_asyncpg(visitor)
        try:
            # asyncpg asks for every value in its binary form.
            return [str(row[0]) for row in await connection.fetch(MASKED_QUERY)]
        finally:
            await connection.close()

    shown = asyncio.run(fetch())
    _must(len(shown) == 3, f"{len(shown)} rows instead of 3")
    _must(not set(shown) & set(_real_addresses(visitor)), "an address came through")
    return shown[0]


def masked_content(visitor: Visitor) -> str:
    card = visitor.shop.look("SELECT card_number FROM shop.customers WHERE id = 7").strip()
    shown = _good(
        visitor.psql(ANA, "support-lookup", "SELECT notes FROM shop.customers WHERE id = 7")
    )
    _must(card not in shown, "the card number came through")
    _must("Asked us to charge" in shown, f"it said {shown}")
    return shown


def approved(visitor: Visitor) -> str:
    update = "UPDATE shop.orders SET status = 'cancelled' WHERE id = 42"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 42")
        _must(_status_of(visitor, 42) != "cancelled", "it ran before anyone agreed")
        _good(visitor.cli(LEA, "approve", approval))
        out, err = waiting.communicate(timeout=PATIENCE_S)
    _good(Said(waiting.returncode, out, err))
    _must(_status_of(visitor, 42) == "cancelled", "it was approved and did not run")
    return "lea approved; the order is cancelled"


def own_approval(visitor: Visitor) -> str:
    update = "UPDATE shop.orders SET status = 'paid' WHERE id = 46"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 46")
        said = visitor.cli(ANA, "approve", approval)
        _good(visitor.cli(LEA, "deny", approval, "--reason", "only a test"))
        waiting.communicate(timeout=PATIENCE_S)
    _must(said.status != 0, "ana approved her own request")
    return _last(said.err.replace("\n  ", "; "))


def denied(visitor: Visitor) -> str:
    before = _status_of(visitor, 43)
    update = "UPDATE shop.orders SET status = 'returned' WHERE id = 43"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 43")
        _good(visitor.cli(LEA, "deny", approval, "--reason", "the parcel never left"))
        out, err = waiting.communicate(timeout=PATIENCE_S)
    said = Said(waiting.returncode, out, err)
    _must(said.status != 0 and "42501" in err, f"it said {_last(err)}")
    _must("the parcel never left" in err, f"the reason did not arrive: {_last(err)}")
    _must(_status_of(visitor, 43) == before, "it ran")
    return _first_error(said)


def cancelled(visitor: Visitor) -> str:
    before = _status_of(visitor, 44)
    update = "UPDATE shop.orders SET status = 'new' WHERE id = 44"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 44")
        waiting.send_signal(signal.SIGINT)  # what Ctrl-C sends
        _, err = waiting.communicate(timeout=PATIENCE_S)
    _must("57014" in err, f"it said {_last(err)}")
    state = visitor.ask(LEA, "approvals", approval)["state"]
    _must(state == "cancelled", f"the approval is {state}")
    _must(_status_of(visitor, 44) == before, "it ran")
    return _first_error(Said(1, "", err))


def wide_but_not_all(visitor: Visitor) -> str:
    _good(
        visitor.psql(ENG, "ops-everything", "CREATE TABLE shop.tour AS SELECT 1 AS n",
                     "INSERT INTO shop.tour VALUES (2)")
    )  # fmt: skip
    said = visitor.psql(ENG, "ops-everything", "DROP TABLE shop.tour")
    _must("42501" in said.err and "migrations" in said.err, f"it said {_last(said.err)}")
    _must(visitor.shop.look("TABLE shop.tour").split() == ["1", "2"], "the table is gone")
    visitor.shop.look("DROP TABLE shop.tour")
    return _first_error(said)


def explained(visitor: Visitor) -> str:
    said = visitor.cli(
        ANA, "policy", "explain", "--task", "sales-report", "DELETE FROM shop.orders WHERE id = 7"
    )
    _must("sales-report/deny[0]" in said.out, f"it said {_last(said.out + said.err)}")
    return "names sales-report/deny[0], and runs nothing"


def found_in_audit(visitor: Visitor) -> str:
    def look() -> str:
        found = visitor.ask(
            AUD, "audit", "search", "--object", "shop.customers.email", "--since", "today"
        )
        who = sorted({row["who"] for row in found["entries"]})
        return ", ".join(who) if any("ana" in one for one in who) else ""

    return f"read by {eventually(look, 'ana is not among those found')}"


def no_audit_for_administrators(visitor: Visitor) -> str:
    said = visitor.cli(ADM, "audit", "search", "--object", "shop.customers.email")
    _must(said.status != 0, "an administrator could search")
    return _last(said.err.splitlines()[0] if said.err else "")


def replayed(visitor: Visitor) -> str:
    for session in visitor.ask(AUD, "sessions", "--all"):
        if session["task"] == "support-lookup":
            shown = _good(visitor.cli(AUD, "replay", session["id"], "--at-once"))
            _must("SELECT notes FROM shop.customers" in shown, "the statement is not in it")
            card = visitor.shop.look("SELECT card_number FROM shop.customers WHERE id = 7").strip()
            _must(card not in shown, "the recording holds the card number")
            return f"{len(shown.splitlines())} lines, masked as ana saw them"
    raise NotAsPromised("no session of support-lookup was recorded")


def verified(visitor: Visitor) -> str:
    return _last(_good(visitor.cli(AUD, "audit", "verify")))


def tampering_shows(visitor: Visitor) -> str:
    key = str(visitor.shop.gate.public_key)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "recordings"
        shutil.copytree(visitor.shop.gate.recordings, copy)
        whole = visitor.cli(AUD, "audit", "verify", str(copy), "--key", key)
        _must(whole.status == 0, f"the untouched copy failed: {_last(whole.out + whole.err)}")
        victim = max(copy.rglob(f"*{SUFFIX}*"), key=lambda path: path.stat().st_size)
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.chmod(0o600)  # sealed recordings are read-only
        victim.write_bytes(content)
        said = visitor.cli(AUD, "audit", "verify", str(copy), "--key", key)
    _must(said.status != 0, "one changed byte went unnoticed")
    return _last(said.out + said.err)


def revoked(visitor: Visitor) -> str:
    async def cut() -> float:
        connection = await _by_asyncpg(visitor)
        _must(await connection.fetchval("SELECT 1") == 1, "the session did not work")
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        grants = visitor.ask(ADM, "grants", "--all")
        mine = [one["id"] for one in grants if one["task"] == "sales-report" and one["live"]]
        for grant in mine:
            said = await asyncio.to_thread(visitor.cli, ADM, "revoke", grant, "--why", "the tour")
            _good(said)
        started = time.monotonic()
        try:
            await asyncio.wait_for(ended.wait(), 5)
        except TimeoutError:
            raise NotAsPromised("the session went on") from None
        return time.monotonic() - started

    took_s = asyncio.run(cut())
    _must(took_s < 1, f"it took {took_s:.1f} s")
    return "the live session ended at once"


STOPS = (
    Stop("A permitted SELECT answers", permitted),
    Stop("psql needs no wrapper, only a token", plain_psql),
    Stop(r"\dt and \d work", described),
    Stop("A DELETE is refused, by rule", refused),
    Stop("A column outside the task is refused", column_refused),
    Stop("E-mail arrives masked in psql", masked_text),
    Stop("... and inside expressions", masked_aliased),
    Stop("... and in binary, by asyncpg", masked_binary),
    Stop("A card in free text is found and hidden", masked_content),
    Stop("A held UPDATE runs once lea approves", approved),
    Stop("... never by its own requester", own_approval),
    Stop("... and not once lea denies, with reason", denied),
    Stop("Ctrl-C withdraws a held UPDATE", cancelled),
    Stop("Engineers may do anything but drop", wide_but_not_all),
    Stop("explain says why, and runs nothing", explained),
    Stop("Audit finds who read customers.email", found_in_audit),
    Stop("... but not for an administrator", no_audit_for_administrators),
    Stop("Replay shows the session, masked", replayed),
    Stop("The recordings verify", verified),
    Stop("One changed byte shows", tampering_shows),
    Stop("Revoking cuts a live session", revoked),
)


def take(shop: Shop, report: Callable[[Seen], None]) -> bool:
    """Visits every stop in turn; whether each was as promised."""
    visitor = Visitor(shop)
    all_kept = True
    for stop in STOPS:
        started = time.monotonic()
        try:
            seen, kept = stop.visit(visitor), True
        except NotAsPromised as instead:
            seen, kept = str(instead), False
        except Exception as error:  # one stop's fault must not hide the others'
            seen, kept = f"{type(error).__name__}: {error}", False
        report(Seen(stop.promise, seen, kept, time.monotonic() - started))
        all_kept = all_kept and kept
    return all_kept


async def _by_asyncpg(visitor: Visitor) -> "asyncpg.Connection[asyncpg.Record]":
    _good(visitor.cli(ANA, "request", "sales-report", "--reason", "a driver"))
    token = _good(visitor.cli(ANA, "token", "sales-report"))
    return await asyncpg.connect(
        host="127.0.0.1",
        port=visitor.shop.gate.ports.postgres,
        user="sales-report",
        password=token,
        database=DATABASE,
        ssl=False,
    )


def _status_of(visitor: Visitor, order: int) -> str:
    return visitor.shop.look(f"SELECT status FROM shop.orders WHERE id = {order:d}").strip()  # noqa: S608
