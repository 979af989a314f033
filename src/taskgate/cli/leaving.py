"""Leaving, and where access is in use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import at, print_json, print_table, say, tell

if TYPE_CHECKING:
    from taskgate.api.people_shapes import HygieneShown, PlaceShown

Why = Annotated[str, typer.Option("--why", help="Recorded, and told to those who are cut off.")]
Person = Annotated[str, typer.Argument(help="A local user's name, or issuer:subject.")]
MAX_TOKEN_CHARS = 1_000


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(offboard)
    app.command()(reinstate)
    app.command("where-used")(where_used)
    app.command()(hygiene)


def offboard(person: Person, why: Why = "they have left", as_json: Json = False) -> None:
    """End everything somebody has, now and everywhere, and print where it was in use.

    Grants, tokens, derived tokens, sign-ins and sessions end, those of agents that act for them
    too; what they asked is cancelled, what they approved and nobody has used is withdrawn; and
    they cannot come in again until `taskgate reinstate`.
    """
    from taskgate.api.keys import segment_of
    from taskgate.api.people_shapes import OffboardedShown

    done = signed_in().post(
        path("people", segment_of(person), "offboard"), OffboardedShown, {"why": why}
    )
    if as_json:
        print_json(done)
        return
    say(f"{', '.join(done.people)}: out")
    for count, what in (
        (len(done.sessions), "sessions cut"),
        (len(done.grants), "grants revoked"),
        (done.sign_ins, "sign-ins ended"),
        (len(done.approvals_cancelled), "approvals they asked cancelled"),
        (len(done.approvals_withdrawn), "approvals they gave withdrawn"),
        (len(done.standing_ended), "approvals in advance ended"),
    ):
        if count:
            say(f"  {count} {what}")
    if done.users:
        say(f"  local user {', '.join(done.users)} disabled")
    say()
    say("where it was in use:")
    _print_places(done.places)
    if done.also_seen:
        tell(f"taskgate: not touched, but of the same name: {', '.join(done.also_seen)}")
        tell("  next: taskgate offboard each of them, if they are the same person")


def reinstate(person: Person, why: Why = "they are back") -> None:
    """Let somebody in again who was offboarded; nothing that ended comes back."""
    from taskgate.api.keys import segment_of

    signed_in().send("POST", path("people", segment_of(person), "reinstate"), {"why": why})
    tell(f"{person} may come in again")


def where_used(
    what: Annotated[
        str,
        typer.Argument(
            metavar="PERSON|TASK|GRANT|-",
            help="A person, a task, or a grant's id; - reads a token from standard input.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show every place from which access was used: by whom, from where, for what, when."""
    from taskgate.api.people_shapes import UseShown

    if what.startswith("tg_"):
        stop(
            "a token has no place among a command's arguments, where others can see it",
            Exit.USAGE,
            hint="pipe it in: taskgate where-used -",
        )
    word = sys.stdin.readline(MAX_TOKEN_CHARS).strip() if what == "-" else what
    found = signed_in().post("/v1/where-used", UseShown, {"what": word})
    if as_json:
        print_json(found)
        return
    say(found.subject)
    _print_places(found.places)


def hygiene(
    days: Annotated[float, typer.Option(help="How long counts as long.")] = 30.0,
    as_json: Json = False,
) -> None:
    """List what nobody uses any more, tokens seen from a new place, and people long away."""
    from taskgate.api.people_shapes import HygieneShown

    found = signed_in().get("/v1/hygiene", HygieneShown, days=days)
    if as_json:
        print_json(found)
        return
    _print_hygiene(found)


def _print_places(places: list[PlaceShown]) -> None:
    print_table(
        ("FROM", "CLIENT", "BY", "TASK", "RESOURCE", "HOST", "TIMES", "REQUESTS", "LAST", "NOTE"),
        (
            (
                place.source or "?",
                place.application or "?",
                " for ".join((place.who, *place.acts_for)),
                place.task or place.way,
                place.resource,
                place.host,
                str(place.times),
                str(place.requests) if place.task else "",
                at(place.last_at),
                _note(place),
            )
            for place in places
        ),
        "nowhere",
    )


def _note(place: PlaceShown) -> str:
    said = [f"{name} {value}" for name, value in sorted(place.claims.items())]
    if place.live:
        said.append(f"{place.live} open")
    return ", ".join(said)


def _print_hygiene(found: HygieneShown) -> None:
    say(f"dormant grants (unused for {found.days:g} days and still good):")
    print_table(
        ("GRANT", "WHO", "TASK", "ISSUED", "LAST USED", "EXPIRES"),
        (
            (one.grant_id, one.who, one.task, at(one.issued_at), _when(one.last_used_at),
             at(one.expires_at))
            for one in found.dormant_grants
        ),
        "none",
    )  # fmt: skip
    say("\ntasks nobody used:")
    print_table(
        ("TASK", "LAST USED"),
        ((one.task, _when(one.last_used_at)) for one in found.unused_tasks),
        "none",
    )
    say("\nseen from a new place:")
    print_table(
        ("GRANT", "WHO", "TASK", "FROM", "SINCE", "BEFORE FROM"),
        (
            (one.grant_id, one.who, one.task, one.source, at(one.first_at),
             ", ".join(one.seen_before))
            for one in found.new_places
        ),
        "none",
    )  # fmt: skip
    say("\nbreak-glass without a review in time:")
    print_table(
        ("ID", "WHO", "TASK", "USED", "DUE"),
        (
            (one.id, one.who, one.task, at(one.used_at), at(one.due_at))
            for one in found.overdue_reviews
        ),
        "none",
    )
    say("\npeople who have not come in:")
    print_table(
        ("WHO", "KEPT AS", "SINCE", "LAST"),
        ((one.who, one.origin, at(one.since), _when(one.last_at)) for one in found.idle_people),
        "none",
    )


def _when(moment: float | None) -> str:
    return at(moment) if moment is not None else "never"
