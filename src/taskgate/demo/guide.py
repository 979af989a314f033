"""What the demo prints: what to paste, and how the tour went."""

import shlex
from dataclasses import dataclass

from rich.console import Console
from rich.text import Text

from taskgate.demo.people import ADM, ANA, AUD, ENG, LEA, PEOPLE
from taskgate.demo.shop import Shop
from taskgate.demo.tour import Seen


@dataclass(frozen=True, slots=True)
class Line:
    """One command to paste, and what it shows."""

    shows: str
    command: str


def _psql(who: str, task: str, sql: str) -> str:
    return f'taskgate --profile {who} connect {task} -- -c "{sql}"'


def _why(who: str, task: str, sql: str) -> str:
    return f'taskgate --profile {who} policy explain --task {task} "{sql}"'


def _ssh(who: str, task: str, command: str) -> str:
    return f"taskgate --profile {who} connect {task} -- '{command}'"


LINES = (
    Line(
        "permitted",
        _psql(ANA.name, "sales-report", "SELECT * FROM shop.revenue_by_region LIMIT 5"),
    ),
    Line("refused", _psql(ANA.name, "sales-report", "DELETE FROM shop.orders WHERE id = 7")),
    Line(
        "masked",
        _psql(
            ANA.name, "sales-report", "SELECT name, email, card_number FROM shop.customers LIMIT 3"
        ),
    ),
    Line(
        "masked in free text",
        _psql(ANA.name, "support-lookup", "SELECT name, notes FROM shop.customers WHERE id = 7"),
    ),
    Line(
        "held (waits)",
        _psql(ANA.name, "fix-orders", "UPDATE shop.orders SET status = 'cancelled' WHERE id = 42"),
    ),
    Line("  in a third terminal", f"taskgate --profile {LEA.name} approvals"),
    Line("", f"taskgate --profile {LEA.name} approve ID      # or: deny ID --reason ..."),
    Line("at a host", _ssh(ENG.name, "web-operate", "systemctl status web")),
    Line("refused", _ssh(ENG.name, "web-operate", "rm -rf srv/app/releases")),
    Line("held (waits)", _ssh(ENG.name, "web-operate", "systemctl restart web")),
    Line("masked", _ssh(ENG.name, "web-operate", "tail -n 5 var/log/web/app.log")),
    Line("a shell (waits)", f"taskgate --profile {ENG.name} connect web-shell"),
    Line(
        "files",
        f"taskgate --profile {ANA.name} exec web-files -- scp web-1:/var/log/web/access.log .",
    ),
    Line("why", _why(ANA.name, "sales-report", "DELETE FROM shop.orders WHERE id = 7")),
    Line(
        "who read it", f"taskgate --profile {AUD.name} audit search --object shop.customers.email"
    ),
    Line("replay", f"taskgate --profile {AUD.name} sessions --all"),
    Line("", f"taskgate --profile {AUD.name} replay ID"),
    Line("whole and signed", f"taskgate --profile {AUD.name} audit verify"),
    Line("ended at once", f"taskgate --profile {ADM.name} grants --all"),
    Line("", f"taskgate --profile {ADM.name} revoke ID"),
)


def show(console: Console, shop: Shop, *, resumed: bool) -> None:
    """The page that `make demo` prints."""
    ports = shop.gate.ports
    console.print()
    console.print(
        f"[bold]taskgate[/] stands before a shop's database and its web host"
        f"{' [dim](as you left it)[/]' if resumed else ''}"
    )
    console.print(f"  psql     localhost:{ports.postgres}   user = task, password = token")
    console.print(f"  ssh      localhost:{ports.ssh}   the same")
    console.print(f"  console  {shop.gate.url}   [dim]its CA: {shop.gate.ca_file}[/]")
    for heading, some in (("people", PEOPLE[:3]), ("", PEOPLE[3:])):
        named = " · ".join(f"[bold]{one.name}[/] {one.about}" for one in some)
        console.print(f"  {heading:<9}{named}")
    console.print(f"  {'':<9}[dim]each is signed in; their passwords are NAME-at-the-shop[/]")
    console.print()
    console.print("In a second terminal:")
    console.print()
    width = max(len(line.shows) for line in LINES)
    rows = [Line("first", f". {shlex.quote(str(shop.directory / 'env'))}"), *LINES]
    for line in rows:
        text = Text(f"  {line.shows:<{width}}  ", style="dim")
        text.append(line.command, style="not dim")
        console.print(text, soft_wrap=True)
    console.print()
    console.print(
        f"[dim]Commands at the host run as {shop.host.account} in {shop.host.directory};"
        " nothing keeps them inside that folder.[/]"
    )
    if shop.borrows_ssh:
        console.print(
            "[dim]OpenSSH's client is not installed: the demo's own ssh and scp stand in, and know"
            " these lines only. For the whole: apt-get install openssh-client, then make demo.[/]"
        )
    console.print(
        "[dim]Ctrl-C stops it; make demo comes back to the same state, make demo-clean ends it.[/]"
    )


def show_seen(console: Console, seen: Seen) -> None:
    """One line of the tour's table."""
    mark = "[green]✓[/]" if seen.kept else "[red]✗[/]"
    room = console.width - 48
    what = seen.seen.replace("\n", " ")
    if seen.kept and len(what) > room:
        what = what[: room - 1] + "…"
    row = Text.from_markup(f"{mark} ")
    row.append(f"{seen.promise:<42} ")
    row.append(what, style="dim" if seen.kept else "red")
    console.print(row, soft_wrap=True)
