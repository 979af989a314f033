"""The tour of what is kept: audit, replay, proof; and of how a grant ends."""

import asyncio
import shutil
import tempfile
import time
from pathlib import Path

from taskgate.demo.people import ADM, AUD
from taskgate.demo.stops import Stop, by_asyncpg, good, last, must
from taskgate.demo.visitor import NotAsPromised, Visitor, eventually
from taskgate.recording.layout import SUFFIX


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
    must(said.status != 0, "an administrator could search")
    return last(said.err.splitlines()[0] if said.err else "")


def replayed(visitor: Visitor) -> str:
    for session in visitor.ask(AUD, "sessions", "--all"):
        if session["task"] == "support-lookup":
            shown = good(visitor.cli(AUD, "replay", session["id"], "--at-once"))
            must("SELECT notes FROM shop.customers" in shown, "the statement is not in it")
            card = visitor.shop.look("SELECT card_number FROM shop.customers WHERE id = 7").strip()
            must(card not in shown, "the recording holds the card number")
            return f"{len(shown.splitlines())} lines, masked as ana saw them"
    raise NotAsPromised("no session of support-lookup was recorded")


def verified(visitor: Visitor) -> str:
    return last(good(visitor.cli(AUD, "audit", "verify")))


def tampering_shows(visitor: Visitor) -> str:
    key = str(visitor.shop.gate.public_key)
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "recordings"
        shutil.copytree(visitor.shop.gate.recordings, copy)
        whole = visitor.cli(AUD, "audit", "verify", str(copy), "--key", key)
        must(whole.status == 0, f"the untouched copy failed: {last(whole.out + whole.err)}")
        victim = max(copy.rglob(f"*{SUFFIX}*"), key=lambda path: path.stat().st_size)
        content = bytearray(victim.read_bytes())
        content[len(content) // 2] ^= 1
        victim.chmod(0o600)  # sealed recordings are read-only
        victim.write_bytes(content)
        said = visitor.cli(AUD, "audit", "verify", str(copy), "--key", key)
    must(said.status != 0, "one changed byte went unnoticed")
    return last(said.out + said.err)


def revoked(visitor: Visitor) -> str:
    async def cut() -> float:
        connection = await by_asyncpg(visitor)
        must(await connection.fetchval("SELECT 1") == 1, "the session did not work")
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _: ended.set())
        grants = visitor.ask(ADM, "grants", "--all")
        mine = [one["id"] for one in grants if one["task"] == "sales-report" and one["live"]]
        for grant in mine:
            said = await asyncio.to_thread(visitor.cli, ADM, "revoke", grant, "--why", "the tour")
            good(said)
        started = time.monotonic()
        try:
            await asyncio.wait_for(ended.wait(), 5)
        except TimeoutError:
            raise NotAsPromised("the session went on") from None
        return time.monotonic() - started

    took_s = asyncio.run(cut())
    must(took_s < 1, f"it took {took_s:.1f} s")
    return "the live session ended at once"


STOPS = (
    Stop("Audit finds who read customers.email", found_in_audit),
    Stop("... but not for an administrator", no_audit_for_administrators),
    Stop("Replay shows the session, masked", replayed),
    Stop("The recordings verify", verified),
    Stop("One changed byte shows", tampering_shows),
    Stop("Revoking cuts a live session", revoked),
)
