"""Sessions, and what was recorded of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import at, one_line, print_json, print_table, say, span, tell
from taskgate.cli.times import moment_of

audit = typer.Typer(
    help="Search the records, and prove them whole.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (sessions, terminate, replay):
        app.command()(command)
    audit.command("search")(search)
    audit.command("verify")(verify)
    app.add_typer(audit, name="audit")


def sessions(
    everyone: Annotated[bool, typer.Option("--all", help="Everybody's, where you may.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Only those that are open.")] = False,
    as_json: Json = False,
) -> None:
    """List sessions, the newest first."""
    from taskgate.api.shapes import SessionShown

    found = signed_in().get_list(
        "/v1/sessions",
        SessionShown,
        all="true" if everyone else None,
        live="true" if live else None,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "WHO", "TASK", "RESOURCE", "FROM", "APPLICATION", "STARTED", "STATE"),
        (
            (
                s.id,
                s.who,
                s.task,
                s.resource,
                s.client_address,
                s.client_application,
                at(s.started_at),
                f"live for {span(time.time() - s.started_at)}"
                if s.ended_at is None
                else f"ended after {span(s.ended_at - s.started_at)}: {s.ended_why}",
            )
            for s in found
        ),
        "no sessions",
    )


def terminate(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    why: Annotated[str, typer.Option(help="Recorded, and told to the client.")],
) -> None:
    """Cut a live session; its grant goes on (see revoke)."""
    signed_in().send("POST", path("sessions", session, "terminate"), {"why": why})
    tell(f"session {session} is cut")


def replay(
    session: Annotated[str, typer.Argument(help="The session's id.")],
    speed: Annotated[float, typer.Option(help="1 is as it happened, 10 ten times faster.")] = 1.0,
    at_once: Annotated[bool, typer.Option("--at-once", help="Without any waiting.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the events, one a line.")] = False,
) -> None:
    """Show a recording as it happened. Needs the replay right; the reading is recorded."""
    if not speed > 0:
        stop("--speed must be above 0", Exit.USAGE)
    client = signed_in()
    if as_json:
        for page in _pages(client, session):
            for event in page.events:
                sys.stdout.write(event.model_dump_json() + "\n")
        return
    _play(client, session, speed=None if at_once else speed)


def search(
    who: Annotated[str, typer.Option(help="A person's name or key.")] = "",
    task: Annotated[str, typer.Option(help="A task's name.")] = "",
    object_: Annotated[
        str, typer.Option("--object", help="A table or column: customers.email.")
    ] = "",
    kind: Annotated[str, typer.Option(help="A kind of data in the answer: email, ...")] = "",
    outcome: Annotated[
        list[str] | None, typer.Option(help="permit, deny, hold, approved, refused, ...")
    ] = None,
    resource: Annotated[str, typer.Option(help="A resource's name.")] = "",
    session: Annotated[str, typer.Option(help="A session's id.")] = "",
    text: Annotated[str, typer.Option(help="A part of the statement.")] = "",
    since: Annotated[
        str, typer.Option(metavar="WHEN", help="2h (ago), today, tuesday, 2026-03-14.")
    ] = "",
    until: Annotated[str, typer.Option(metavar="WHEN", help="Up to, not with.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 200,
    as_json: Json = False,
) -> None:
    """Find who did what to which object. Needs the audit right; the search is recorded."""
    from taskgate.api.shapes import AuditFound

    found = signed_in().get(
        "/v1/audit/search",
        AuditFound,
        who=who,
        task=task,
        object=object_,
        kind=kind,
        outcome=outcome or [],
        resource=resource,
        session=session,
        text=text,
        since=moment_of(since) if since else None,
        until=moment_of(until) if until else None,
        limit=limit,
    )
    if as_json:
        print_json(found)
        return
    print_table(
        ("WHEN", "WHO", "TASK", "OUTCOME", "VERB", "OBJECT", "ROWS", "MASKED", "SESSION", "TEXT"),
        (
            (
                at(row.at),
                row.who,
                row.task,
                row.outcome or row.event,
                row.verb,
                row.object + (f"({', '.join(row.columns)})" if row.columns else ""),
                "" if row.rows is None else str(row.rows),
                str(row.masked or ""),
                row.session,
                one_line(row.text),
            )
            for row in found.entries
        ),
        "nothing was found",
    )
    if not found.complete:
        tell(f"there is more than {limit}; narrow it, or raise --limit")
