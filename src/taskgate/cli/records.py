"""Sessions, and the search and proof of what was recorded of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.host import ConfigFile, on_host
from taskgate.cli.output import (
    at,
    one_line,
    print_json,
    print_table,
    say,
    span,
    tell,
)
from taskgate.cli.times import day_of, moment_of

audit = typer.Typer(
    help="Search the records, and prove them whole.", no_args_is_help=True, rich_markup_mode=None
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (sessions, terminate):
        app.command()(command)
    audit.command("search")(search)
    audit.command("verify")(verify)
    audit.command("reindex")(reindex)
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
    on: Annotated[
        str, typer.Option(metavar="DAY", help="That whole day: tuesday, yesterday, 2026-03-14.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 200,
    as_json: Json = False,
) -> None:
    """Find who did what to which object. Needs the audit right; the search is recorded."""
    from taskgate.api.shapes import AuditFound

    if on and (since or until):
        stop("--on is a whole day; leave --since and --until out", Exit.USAGE)
    first, last = day_of(on) if on else (None, None)
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
        since=moment_of(since) if since else first,
        until=moment_of(until) if until else last,
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


def verify(
    folder: Annotated[
        Path | None, typer.Argument(help="An audit directory, or one recording; offline.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="With a directory: the gateway's public key (PEM).")
    ] = None,
    anchor: Annotated[
        list[str] | None,
        typer.Option(metavar="N:HASH", help="An entry of the chain of heads, noted earlier."),
    ] = None,
) -> None:
    """Prove that no record was changed, dropped, reordered or lost.

    With a directory and the public key this needs no gateway; without, the gateway looks.
    """
    if folder is None:
        from taskgate.api.shapes import VerifyReport

        report = signed_in().post("/v1/audit/verify", VerifyReport)
        say(report.rendered.rstrip("\n"))
        raise SystemExit(Exit.TAMPERED if report.findings else Exit.OK)
    if key is None:
        stop(
            "verifying offline takes the gateway's public key",
            Exit.USAGE,
            hint="--key recording.key.pub, best from a copy that was kept elsewhere",
        )
    raise SystemExit(_verify_offline(folder, key, anchor or []))


def _verify_offline(folder: Path, key: Path, anchors: list[str]) -> Exit:
    from taskgate.recording.damage import render_report
    from taskgate.recording.heads import Anchor
    from taskgate.recording.keys import load_public
    from taskgate.recording.verify import verify_dir, verify_file

    noted = []
    for text in anchors:
        number, colon, hash_ = text.partition(":")
        if not (colon and number.isdigit() and len(hash_) == 64):
            stop(f"{text!r} is no anchor", Exit.USAGE, hint="write NUMBER:HASH as verify prints it")
        noted.append(Anchor(int(number), hash_))
    public_key = load_public(key)
    try:
        if folder.is_dir():
            report = verify_dir(folder, public_key, noted)
        else:
            report = verify_file(folder, public_key)
    except OSError as error:
        stop(f"cannot read {folder}: {error.strerror}", Exit.INVALID)
    say(render_report(report).rstrip("\n"))
    return Exit.OK if report.whole else Exit.TAMPERED


def reindex(config: ConfigFile) -> None:
    """Build the search index anew from the recordings. On the gateway's host."""
    from taskgate.gateway.config import load_config
    from taskgate.gateway.foundation import State
    from taskgate.gateway.indexing import Feeder

    directory = load_config(config).audit_dir

    async def work(state: State) -> int:
        return await Feeder(directory, state.store.audit, directory.parent).rebuild()

    tell(f"{on_host(config, work)} recordings are indexed")
