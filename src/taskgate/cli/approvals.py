"""Held requests: seeing them, and deciding."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.api.visible import hidden_count, visible
from taskgate.cli import break_glass
from taskgate.cli.access import Json
from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import (
    at,
    one_line,
    print_json,
    print_json_line,
    print_table,
    say,
    span,
    tell,
)
from taskgate.cli.times import seconds_of

if TYPE_CHECKING:
    from taskgate.api.shapes import ApprovalShown


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (approvals, approve, deny):
        app.command()(command)


def approvals(
    approval: Annotated[str, typer.Argument(help="Show this one in full.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing new ones.")] = False,
    standing: Annotated[
        bool, typer.Option("--standing", help="Agreements in advance that still count.")
    ] = False,
    end_standing: Annotated[
        str, typer.Option("--end-standing", metavar="ID", help="Take one of these back.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the held requests that wait for you, or show one."""
    from taskgate.api.shapes import ApprovalShown

    client = signed_in()
    if end_standing:
        client.send("POST", path("standing", end_standing, "end"))
        tell(f"{end_standing} counts no longer")
        return
    if standing:
        _list_standing(client, as_json)
        return
    if approval:
        found = client.get(path("approvals", approval), ApprovalShown)
        print_json(found) if as_json else show(found)
        return
    if watch:
        _watch(as_json)
        return
    waiting = client.get_list("/v1/approvals", ApprovalShown)
    if as_json:
        print_json(waiting)
        return
    print_table(
        ("ID", "WHO", "TASK", "RESOURCE", "WAITS", "LEFT", "WHAT WOULD RUN"),
        (
            (
                a.id,
                a.who,
                a.task,
                a.resource,
                span(time.time() - a.asked_at),
                span(a.expires_at - time.time()),
                one_line(a.text),
            )
            for a in waiting
        ),
        "nothing waits for you",
    )
    if waiting:
        tell("see one whole: taskgate approvals ID; then taskgate approve ID or deny ID --reason")


def _list_standing(client: Client, as_json: bool) -> None:
    from taskgate.api.shapes import StandingApprovalShown

    found = client.get_list("/v1/standing", StandingApprovalShown)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "WHO", "TASK", "RESOURCE", "USES LEFT", "LEFT", "MORE LIKE"),
        (
            (
                one.id,
                one.who,
                one.task,
                one.resource,
                str(one.uses_left),
                span(one.expires_at - time.time()),
                one_line(one.text),
            )
            for one in found
        ),
        "nobody has agreed to anything in advance",
    )


def _watch(as_json: bool) -> None:
    from taskgate.api.shapes import ApprovalShown

    seen: set[str] = set()
    tell("waiting for held requests; Ctrl-C ends it")
    for data in signed_in().stream("/v1/approvals/stream"):
        found = ApprovalShown.model_validate_json(data)
        if as_json:
            print_json_line(found)
        elif found.state != "waiting":
            tell(f"{found.id}: {found.state}")
        elif found.id not in seen:
            sys.stdout.write("\a" if sys.stdout.isatty() else "")
            show(found)
            say()
            sys.stdout.flush()
        seen.add(found.id)
    stop("the gateway ended the stream", Exit.UNREACHABLE, hint="is it shutting down?")


def show(approval: ApprovalShown) -> None:
    """One request as an approver must see it: whole, and nothing in it out of sight."""
    say(f"approval {approval.id} ({approval.state})")
    say(f"  who       {approval.who}")
    say(f"  task      {approval.task} on {approval.resource}")
    say(f"  reason    {one_line(approval.grant_reason, 300)}")
    say(f"  rule      {approval.rule}")
    say(f"  asked     {at(approval.asked_at)}, until {at(approval.expires_at)}")
    for demand in approval.demands:
        whom = ", ".join([*(f"group {g}" for g in demand.groups), *demand.subjects])
        say(f"  needs     {demand.people} of: {whom}")
    for vote in approval.votes:
        word = "approved" if vote.approve else "denied"
        say(
            f"  {word:<9} by {vote.who} {at(vote.at)}" + (f": {vote.reason}" if vote.reason else "")
        )
    hidden = hidden_count(approval.text) + sum(hidden_count(p or "") for p in approval.parameters)
    if hidden:
        say(f"  WARNING   {hidden} invisible characters, written out below (\\x.., \\u{{..}})")
    say(f"  what would run ({len(approval.text)} characters):")
    for line in visible(approval.text).split("\n"):
        say(f"    | {line}")
    for number, value in enumerate(approval.parameters, 1):
        say(f"    ${number} = {'NULL' if value is None else repr(value)}")


def approve(
    approval: Annotated[str, typer.Argument(help="The approval's id.")],
    shape: Annotated[
        bool, typer.Option("--shape", help="Also agree to more of the same kind.")
    ] = False,
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="With --shape: how long.")
    ] = "",
    uses: Annotated[int, typer.Option(help="With --shape: how often, at most.")] = 0,
    reason: Annotated[str, typer.Option(help="Recorded.")] = "",
) -> None:
    """Approve a held request, and with --shape more like it for a while."""
    from taskgate.api.shapes import ApprovalShown

    if approval.startswith(break_glass.PREFIX):
        if shape:
            stop("break-glass is agreed to once, not in advance", Exit.USAGE)
        break_glass.decide(signed_in(), approval, "approve", reason)
        return
    if not shape and (lasts or uses):
        stop("--for and --uses belong to --shape", Exit.USAGE)
    body: dict[str, object] = {"scope": "shape" if shape else "once", "reason": reason}
    if shape:
        body["minutes"] = seconds_of(lasts or "30m") / 60
        body["uses"] = uses or 20
    result = signed_in().post(path("approvals", approval, "approve"), ApprovalShown, body)
    if result.state == "approved":
        tell(f"{approval} is approved and runs now")
    else:
        tell(f"your approval of {approval} counts; it is still {result.state} for others")


def deny(
    approval: Annotated[str, typer.Argument(help="The approval's id.")],
    reason: Annotated[str, typer.Option(help="Recorded, and told to whoever asked.")],
) -> None:
    """Deny a held request; the client gets your reason in its error."""
    from taskgate.api.shapes import ApprovalShown

    if approval.startswith(break_glass.PREFIX):
        break_glass.decide(signed_in(), approval, "deny", reason)
        return
    signed_in().post(path("approvals", approval, "deny"), ApprovalShown, {"reason": reason})
    tell(f"{approval} is denied")
