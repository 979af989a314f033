"""Becoming the first administrator of a new gateway."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from taskgate.cli import profile as profiles
from taskgate.cli.access import CaOption, ServerOption, ask_password, login
from taskgate.cli.client import Client, signed_in, trusted_ca
from taskgate.cli.output import tell
from taskgate.cli.profile import Profile


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(bootstrap)


def bootstrap(
    name: Annotated[
        str, typer.Argument(help="The local user to make; nobody: whoever is signed in.")
    ] = "",
    server: ServerOption = "",
    ca: CaOption = "",
) -> None:
    """Become a new gateway's first administrator, with the one-time code that it printed.

    The rights to administer and to author last a day: write the roles that stay into the policy.
    """
    known = profiles.load()
    server = (server or known.server).rstrip("/")
    stdin = not sys.stdin.isatty()
    code = ask_password("One-time code that the gateway printed", from_stdin=stdin)
    if not name:
        signed_in().send("POST", "/v1/bootstrap", {"code": code})
        tell("you administer this gateway for a day; now give somebody the role for good")
        return
    password = ask_password(f"Password for {name}", from_stdin=stdin, confirm=True)
    ca_file = trusted_ca(server, ca) if ca else (known.ca_file if server == known.server else "")
    client = Client(Profile(server=server, ca_file=ca_file))
    client.send("POST", "/v1/bootstrap", {"code": code, "name": name, "password": password})
    tell(f"{name} administers this gateway for a day; now give somebody the role for good")
    profiles.save(Profile(server, ca_file, name))
    if not stdin:
        login(name)
