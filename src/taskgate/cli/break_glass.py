"""Break-glass, its reviews, and alerts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.access import For, Json, print_issued
from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import at, one_line, print_json, print_table, say, span, tell
from taskgate.cli.times import seconds_of

if TYPE_CHECKING:
    from taskgate.api.break_glass_shapes import BreakGlassGiven, BreakGlassShown

LOOK_EVERY_S = 2.0
PREFIX = "bg-"


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("break-glass")(break_glass)
    for command in (reviews, review, alerts):
        app.command()(command)


def break_glass(
    task: str,
    reason: Annotated[str, typer.Option(help="What the emergency is; it is recorded.")],
    lasts: For = "",
    resource: Annotated[str, typer.Option(help="Only this one of the task's.")] = "",
    as_json: Json = False,
) -> None:
    """Take up a task in an emergency, outside its members and hours.

    It is loud: others are alerted now, and somebody else reviews it afterwards. Where the task
    wants a second person's consent, the command waits for it.
    """
    from taskgate.api.break_glass_shapes import BreakGlassGiven

    client = signed_in()
    body = {
        "task": task,
        "reason": reason,
        "resource": resource or None,
        "lasts_s": seconds_of(lasts) if lasts else None,
    }
    answer = client.post("/v1/break-glass", BreakGlassGiven, body)
    if answer.issued is None:
        answer = _waited(client, answer)
    if answer.issued is None:
        stop(f"{answer.request.id} is {answer.request.state}", Exit.REFUSED)
    if as_json:
        print_json(answer.issued.grant)
        return
    print_issued(answer.issued)
    tell(f"others have been alerted; {answer.request.id} stays open until somebody reviews it")


def _waited(client: Client, answer: BreakGlassGiven) -> BreakGlassGiven:
    from taskgate.api.break_glass_shapes import BreakGlassGiven, BreakGlassShown

    one = answer.request
    whom = _whom(one)
    tell(f"{one.id}: waiting for {whom}, {span(one.expires_at - time.time())} at most")
    tell(f"  they run: taskgate approve {one.id}")
    while time.time() < one.expires_at:
        time.sleep(LOOK_EVERY_S)
        found = client.get(path("reviews", one.id), BreakGlassShown)
        if found.state == "ready":
            return client.post(path("break-glass", one.id, "collect"), BreakGlassGiven)
        if found.state != "waiting":
            said = next((vote.reason for vote in found.votes if not vote.approve), "")
            stop(
                f"{one.id} was {found.state}" + (f": {said}" if said else ""),
                Exit.REFUSED,
                rule=f"{one.task}/break_glass",
            )
    stop(f"nobody agreed to {one.id} in time", Exit.REFUSED, rule=f"{one.task}/break_glass")


def _whom(one: BreakGlassShown) -> str:
    if one.second is None:
        return "nobody"
    named = ", ".join([*(f"group {g}" for g in one.second.groups), *one.second.subjects])
    return f"{one.second.people} of {named}"


def decide(client: Client, break_glass_id: str, word: str, reason: str) -> None:
    """`taskgate approve` and `deny` of a break-glass request. Raises: Stop."""
    from taskgate.api.break_glass_shapes import BreakGlassShown

    found = client.post(
        path("break-glass", break_glass_id, word), BreakGlassShown, {"reason": reason}
    )
    tell(f"{break_glass_id} is {found.state}")


def reviews(
    everything: Annotated[bool, typer.Option("--all", help="Those that are settled, too.")] = False,
    as_json: Json = False,
) -> None:
    """List uses of break-glass that wait for consent or for a review."""
    from taskgate.api.break_glass_shapes import BreakGlassShown

    found = signed_in().get_list("/v1/reviews", BreakGlassShown, all="true" if everything else None)
    if as_json:
        print_json(found)
        return
    now = time.time()
    print_table(
        ("ID", "WHO", "TASK", "WHEN", "STATE", "REVIEW", "REASON"),
        (
            (
                one.id,
                one.who,
                one.task,
                at(one.used_at or one.asked_at),
                one.state + (" (for you)" if one.may_decide else ""),
                _review(one, now),
                one_line(one.reason),
            )
            for one in found
        ),
        "nothing waits for a review",
    )
    if any(one.may_review for one in found):
        tell("close one: taskgate review ID --note ...")


def _review(one: BreakGlassShown, now: float) -> str:
    if one.reviewed_at is not None:
        return f"by {one.reviewed_by}: {one_line(one.note)}"
    if not one.review_open or one.review_due_at is None:
        return ""
    yours = ", for you" if one.may_review else ""
    if one.overdue:
        return f"OVERDUE since {at(one.review_due_at)}{yours}"
    return f"due in {span(one.review_due_at - now)}{yours}"


def review(
    break_glass: Annotated[str, typer.Argument(metavar="ID", help="The use's id, bg-...")],
    note: Annotated[str, typer.Option(help="What you found; it is recorded.")],
) -> None:
    """Close the review of a use of break-glass."""
    from taskgate.api.break_glass_shapes import BreakGlassShown

    signed_in().post(path("reviews", break_glass), BreakGlassShown, {"note": note})
    tell(f"the review of {break_glass} is closed")


def alerts(as_json: Json = False) -> None:
    """List what was loud in the last 30 days."""
    from taskgate.api.break_glass_shapes import AlertShown

    found = signed_in().get_list("/v1/alerts", AlertShown)
    if as_json:
        print_json(found)
        return
    print_table(
        ("WHEN", "KIND", "ABOUT", "WHAT"),
        ((at(one.at), one.kind, one.subject, one_line(one.text, 200)) for one in found),
        "no alerts",
    )
    if found:
        say()
        say("replay what was done: taskgate sessions --all, then taskgate replay SESSION")
