"""The tour at the shop's database: what is permitted, refused, masked and held."""

import asyncio
import signal

from taskgate.demo.people import ANA, ENG, LEA
from taskgate.demo.stops import Stop, by_asyncpg, first_error, good, last, must
from taskgate.demo.visitor import PATIENCE_S, Said, Visitor

MASKED_QUERY = "SELECT email FROM shop.customers ORDER BY id LIMIT 3"


def permitted(visitor: Visitor) -> str:
    regions = good(
        visitor.psql(
            ANA,
            "sales-report",
            "SELECT region, sum(revenue) FROM shop.revenue_by_region GROUP BY region",
        )
    ).splitlines()
    must(len(regions) == 4, f"{len(regions)} rows instead of 4")
    return f"{len(regions)} rows"


def plain_psql(visitor: Visitor) -> str:
    good(visitor.cli(ANA, "request", "sales-report", "--reason", "psql by hand"))
    token = good(visitor.cli(ANA, "token", "sales-report"))
    said = visitor.psql_by_hand("sales-report", token, "SELECT count(*) FROM shop.orders")
    must(good(said) == "25000", f"it said {said.out.strip()}")
    return "25000 orders"


def described(visitor: Visitor) -> str:
    tables = good(visitor.psql(ANA, "sales-report", r"\dt shop.*", r"\d shop.orders"))
    must("shop|orders|table" in tables and "placed_at|timestamp" in tables, "no table was shown")
    return "tables and columns are listed"


def refused(visitor: Visitor) -> str:
    before = visitor.shop.look("SELECT count(*) FROM shop.orders")
    said = visitor.psql(ANA, "sales-report", "DELETE FROM shop.orders WHERE id = 7")
    must(said.status != 0, "the statement ran")
    must("42501" in said.err, f"another error: {last(said.err)}")
    must("sales-report/deny[0]" in said.err, "the rule is not named")
    must(visitor.shop.look("SELECT count(*) FROM shop.orders") == before, "rows are gone")
    return first_error(said)


def column_refused(visitor: Visitor) -> str:
    said = visitor.psql(ANA, "sales-report", "SELECT national_id FROM shop.customers")
    must("42501" in said.err and not said.out, f"it said {said.out[:60]} {last(said.err)}")
    return first_error(said)


def _real_addresses(visitor: Visitor) -> list[str]:
    return visitor.shop.look(MASKED_QUERY).split()


def masked_text(visitor: Visitor) -> str:
    shown = good(visitor.psql(ANA, "sales-report", MASKED_QUERY)).splitlines()
    must(len(shown) == 3, f"{len(shown)} rows instead of 3")
    must(not set(shown) & set(_real_addresses(visitor)), "an address came through")
    return shown[0]


def masked_aliased(visitor: Visitor) -> str:
    query = "SELECT string_agg(upper(email), ' ') FROM (SELECT email FROM shop.customers LIMIT 3) t"
    shown = good(visitor.psql(ANA, "sales-report", query))
    real = " ".join(_real_addresses(visitor)).upper().split()
    must(not any(one in shown.upper() for one in real), "an address came through")
    return shown or "(empty)"


def masked_binary(visitor: Visitor) -> str:
    async def fetch() -> list[str]:
        connection = await by_asyncpg(visitor)
        try:
            # asyncpg asks for every value in its binary form.
            return [str(row[0]) for row in await connection.fetch(MASKED_QUERY)]
        finally:
            await connection.close()

    shown = asyncio.run(fetch())
    must(len(shown) == 3, f"{len(shown)} rows instead of 3")
    must(not set(shown) & set(_real_addresses(visitor)), "an address came through")
    return shown[0]


def masked_content(visitor: Visitor) -> str:
    card = visitor.shop.look("SELECT card_number FROM shop.customers WHERE id = 7").strip()
    shown = good(
        visitor.psql(ANA, "support-lookup", "SELECT notes FROM shop.customers WHERE id = 7")
    )
    must(card not in shown, "the card number came through")
    must("Asked us to charge" in shown, f"it said {shown}")
    return shown


def approved(visitor: Visitor) -> str:
    update = "UPDATE shop.orders SET status = 'cancelled' WHERE id = 42"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 42")
        must(_status_of(visitor, 42) != "cancelled", "it ran before anyone agreed")
        good(visitor.cli(LEA, "approve", approval))
        out, err = waiting.communicate(timeout=PATIENCE_S)
    good(Said(waiting.returncode, out, err))
    must(_status_of(visitor, 42) == "cancelled", "it was approved and did not run")
    return "lea approved; the order is cancelled"


def own_approval(visitor: Visitor) -> str:
    update = "UPDATE shop.orders SET status = 'paid' WHERE id = 46"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 46")
        said = visitor.cli(ANA, "approve", approval)
        good(visitor.cli(LEA, "deny", approval, "--reason", "only a test"))
        waiting.communicate(timeout=PATIENCE_S)
    must(said.status != 0, "ana approved her own request")
    return last(said.err.replace("\n  ", "; "))


def denied(visitor: Visitor) -> str:
    before = _status_of(visitor, 43)
    update = "UPDATE shop.orders SET status = 'returned' WHERE id = 43"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 43")
        good(visitor.cli(LEA, "deny", approval, "--reason", "the parcel never left"))
        out, err = waiting.communicate(timeout=PATIENCE_S)
    said = Said(waiting.returncode, out, err)
    must(said.status != 0 and "42501" in err, f"it said {last(err)}")
    must("the parcel never left" in err, f"the reason did not arrive: {last(err)}")
    must(_status_of(visitor, 43) == before, "it ran")
    return first_error(said)


def cancelled(visitor: Visitor) -> str:
    before = _status_of(visitor, 44)
    update = "UPDATE shop.orders SET status = 'new' WHERE id = 44"
    with visitor.start_psql(ANA, "fix-orders", update) as waiting:
        approval = visitor.waiting_approval(LEA, "id = 44")
        waiting.send_signal(signal.SIGINT)  # what Ctrl-C sends
        _, err = waiting.communicate(timeout=PATIENCE_S)
    must("57014" in err, f"it said {last(err)}")
    state = visitor.ask(LEA, "approvals", approval)["state"]
    must(state == "cancelled", f"the approval is {state}")
    must(_status_of(visitor, 44) == before, "it ran")
    return first_error(Said(1, "", err))


def wide_but_not_all(visitor: Visitor) -> str:
    good(
        visitor.psql(ENG, "ops-everything", "CREATE TABLE shop.tour AS SELECT 1 AS n",
                     "INSERT INTO shop.tour VALUES (2)")
    )  # fmt: skip
    said = visitor.psql(ENG, "ops-everything", "DROP TABLE shop.tour")
    must("42501" in said.err and "migrations" in said.err, f"it said {last(said.err)}")
    must(visitor.shop.look("TABLE shop.tour").split() == ["1", "2"], "the table is gone")
    visitor.shop.look("DROP TABLE shop.tour")
    return first_error(said)


def explained(visitor: Visitor) -> str:
    said = visitor.cli(
        ANA, "policy", "explain", "--task", "sales-report", "DELETE FROM shop.orders WHERE id = 7"
    )
    must("sales-report/deny[0]" in said.out, f"it said {last(said.out + said.err)}")
    return "names sales-report/deny[0], and runs nothing"


def _status_of(visitor: Visitor, order: int) -> str:
    return visitor.shop.look(f"SELECT status FROM shop.orders WHERE id = {order:d}").strip()  # noqa: S608


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
)
