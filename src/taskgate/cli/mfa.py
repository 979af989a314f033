"""Second factors of one's own: authenticator apps, recovery codes."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import at, print_json, print_table, say, tell

mfa = typer.Typer(help="Your second factors.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    mfa.command("enroll")(enroll)
    mfa.command("list")(list_)
    mfa.command("remove")(remove)
    mfa.command("recovery-codes")(recovery_codes)
    app.add_typer(mfa, name="mfa")


def enroll(
    label: Annotated[str, typer.Option(help="How lists name it.")] = "",
    qr: Annotated[bool, typer.Option("--qr/--no-qr", help="Draw the QR code.")] = True,
) -> None:
    """Add an authenticator app: shows a QR code, then asks for the code that the app shows.

    Passkeys are added in the console, under Security.
    """
    from taskgate.api.factor_shapes import EnrolmentShown, RecoveryCodes

    if not sys.stdin.isatty():
        stop("a person must scan the code and type one back", Exit.USAGE)
    client = signed_in()
    begun = client.post("/v1/mfa/apps", EnrolmentShown, {"label": label})
    if qr:
        _draw(begun.uri)
    say("scan this with an authenticator app, or type its key:" if qr else "the app's key:")
    say(f"  {' '.join(begun.secret[at : at + 4] for at in range(0, len(begun.secret), 4))}")
    code = typer.prompt("Code that the app shows", err=True)
    done = client.post(path("mfa", "apps", begun.id, "confirm"), RecoveryCodes, {"code": code})
    tell("from now on a sign-in needs a code of this app")
    _show_codes(done.codes)


def list_(as_json: Json = False) -> None:
    """List your second factors."""
    from taskgate.api.factor_shapes import FactorsShown

    found = signed_in().get("/v1/mfa", FactorsShown)
    if as_json:
        print_json(found)
        return
    print_table(
        ("ID", "KIND", "LABEL", "ADDED", "LAST USED"),
        (
            (
                one.id,
                one.kind + ("" if one.confirmed else " (not confirmed)"),
                one.label,
                at(one.added_at),
                at(one.last_used_at) if one.last_used_at is not None else "never",
            )
            for one in found.factors
        ),
        "none; taskgate mfa enroll adds one",
    )
    if found.demanded:
        say(f"\nrecovery codes left: {found.recovery_left}")


def remove(factor: Annotated[str, typer.Argument(help="Its id.")]) -> None:
    """Take one of your second factors away."""
    signed_in().send("DELETE", path("mfa", factor))
    tell(f"{factor} is gone")


def recovery_codes() -> None:
    """Make new recovery codes; the old ones stop counting."""
    from taskgate.api.factor_shapes import RecoveryCodes

    _show_codes(signed_in().post("/v1/mfa/recovery-codes/renew", RecoveryCodes).codes)


def _draw(uri: str) -> None:
    import segno

    if sys.stdout.isatty():
        segno.make(uri, error="l", micro=False).terminal(compact=True)


def _show_codes(codes: list[str]) -> None:
    if not codes:
        return
    say("recovery codes, each good once in place of the app; keep them where the app is not:")
    for code in codes:
        say(f"  {code}")
