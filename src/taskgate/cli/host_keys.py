"""Hosts: the authority that lets the gateway in there, and the keys that it knows them by."""

from __future__ import annotations

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import path, signed_in
from taskgate.cli.exits import stop
from taskgate.cli.output import at, emit, print_json, print_table, tell

host_keys = typer.Typer(
    help="Host keys that were trusted when they were first seen.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command("ssh-ca")(ssh_ca)
    host_keys.command("list")(host_keys_list)
    host_keys.command("forget")(host_keys_forget)
    app.add_typer(host_keys, name="host-keys")


def host_keys_list(as_json: Json = False) -> None:
    """List them: the resource, its address, and whose session it was."""
    from taskgate.api.keeping_shapes import HostKeyShown

    found = signed_in().get_list("/v1/host-keys", HostKeyShown)
    if as_json:
        print_json(found)
        return
    print_table(
        ("RESOURCE", "ADDRESS", "KEY", "SINCE", "BY"),
        ((one.resource, one.address, one.fingerprint, at(one.trusted_at), one.by) for one in found),
        "none",
    )


def host_keys_forget(resource: str) -> None:
    """Forget those of a resource: the next key that it shows is trusted."""
    signed_in().send("DELETE", path("host-keys", resource))
    tell(f"nothing is kept for {resource} any more; the next key that it shows is trusted")


def ssh_ca() -> None:
    """Print the key that hosts trust to let the gateway in (for sshd's TrustedUserCAKeys)."""
    from taskgate.api.shapes import Authority
    from taskgate.cli import profile as profiles
    from taskgate.cli.client import Client

    key = Client(profiles.load()).get("/v1/ca", Authority).ssh_upstream_ca
    if not key:
        stop("nobody comes in by SSH", hint="ssh: {} in the gateway's configuration lets them")
    emit(f"{key} taskgate\n")
