"""Running the gateway, and keeping its users and secrets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli.access import Json, ask_password
from taskgate.cli.client import path, signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.host import ConfigFile, OnHost, on_host
from taskgate.cli.output import at, emit, print_json, print_table, tell

if TYPE_CHECKING:
    from taskgate.gateway.foundation import State

FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]
MAX_SECRET_CHARS = 64 * 1024

user = typer.Typer(help="Local users.", no_args_is_help=True, rich_markup_mode=None)
secret = typer.Typer(help="Stored secrets.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(serve)
    app.command()(ca)
    app.command("known-hosts")(known_hosts)
    user.command("add")(user_add)
    user.command("passwd")(user_passwd)
    user.command("groups")(user_groups)
    user.command("disable")(user_disable)
    user.command("enable")(user_enable)
    user.command("list")(user_list)
    user.command("reset-mfa")(user_reset_mfa)
    app.add_typer(user, name="user")
    secret.command("set")(secret_set)
    secret.command("remove")(secret_remove)
    secret.command("list")(secret_list)
    secret.command("rotate")(secret_rotate)
    app.add_typer(secret, name="secret")


def serve(config: ConfigFile) -> None:
    """Run the gateway until it is told to stop (SIGTERM)."""
    import uvloop

    from taskgate.api.app import create_app
    from taskgate.console.app import mount
    from taskgate.gateway.config import load_config
    from taskgate.gateway.heap import settle
    from taskgate.gateway.logs import set_up_logs
    from taskgate.gateway.service import run

    loaded = load_config(config)
    set_up_logs(loaded.log.level, loaded.log.format)
    work = run(loaded, lambda wiring: create_app(wiring, mount), lambda _: settle())
    raise SystemExit(uvloop.run(work))


def ca(
    config: OnHost = None,
    fingerprint: Annotated[
        bool, typer.Option("--fingerprint", help="Only its fingerprint, for login --ca.")
    ] = False,
) -> None:
    """Print the certificate authority that clients should trust (PEM)."""
    if config is not None:
        pem = _ca_on_host(config)
    else:
        from taskgate.api.shapes import Authority
        from taskgate.cli import profile as profiles
        from taskgate.cli.client import Client

        pem = Client(profiles.load()).get("/v1/ca", Authority).pem
    if not pem:
        stop("the gateway's certificate comes from an authority that systems trust already")
    if fingerprint:
        import hashlib
        import ssl

        emit(f"sha256:{hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()}\n")
    else:
        emit(pem)


def known_hosts() -> None:
    """Print the line that makes OpenSSH know the gateway (for ~/.ssh/known_hosts)."""
    from taskgate.api.shapes import Authority
    from taskgate.cli import profile as profiles
    from taskgate.cli.client import Client

    line = Client(profiles.load()).get("/v1/ca", Authority).ssh_known_hosts
    if not line:
        stop("nobody comes in by SSH", hint="ssh: {} in the gateway's configuration lets them")
    emit(line + "\n")


def _ca_on_host(file: Path) -> str:
    import time

    from taskgate.gateway.certificates import authority_pem
    from taskgate.gateway.config import TlsFiles, load_config
    from taskgate.gateway.listener_tls import listener_tls

    config = load_config(file)
    if isinstance(config.api.tls, TlsFiles):
        return listener_tls(config, config.api.tls, time.time()).ca_pem
    return authority_pem(config.state_dir, time.time())


def user_add(
    name: str,
    group: Annotated[list[str] | None, typer.Option(help="A group; may be repeated.")] = None,
    agent_for: Annotated[
        str, typer.Option("--agent-for", help="It is an agent, and acts for this local user.")
    ] = "",
    config: OnHost = None,
    password_stdin: FromStdin = False,
) -> None:
    """Add a local user."""
    password = ask_password(f"Password for {name}", from_stdin=password_stdin, confirm=True)
    groups = group or []
    if config is None:
        from taskgate.api.keeping_shapes import UserShown

        body = {"name": name, "groups": groups, "password": password, "agent_for": agent_for}
        signed_in().post("/v1/users", UserShown, body)
    else:

        async def work(state: State) -> None:
            from taskgate.gateway.foundation import local_users
            from taskgate.model.identity import IdentityKind

            kind = IdentityKind.AGENT if agent_for else IdentityKind.HUMAN
            async with local_users(state) as users:
                await users.add(
                    name, password, frozenset(groups), state.clock.now(), kind=kind,
                    acts_for=agent_for,
                )  # fmt: skip

        on_host(config, work)
    tell(f"user {name} is there" + (f", in {', '.join(groups)}" if groups else ""))


def user_passwd(name: str, config: OnHost = None, password_stdin: FromStdin = False) -> None:
    """Replace a user's password; their sign-ins and grants end."""
    password = ask_password(f"New password for {name}", from_stdin=password_stdin, confirm=True)
    if config is None:
        signed_in().send("POST", path("users", name, "password"), {"password": password})
    else:

        async def work(state: State) -> None:
            from taskgate.gateway.foundation import local_users

            async with local_users(state) as users:
                await users.set_password(name, password, state.clock.now())

        on_host(config, work)
    tell(f"{name} has a new password")


def user_groups(
    name: str,
    groups: Annotated[list[str] | None, typer.Argument(help="All of them; none for none.")] = None,
    config: OnHost = None,
) -> None:
    """Replace a user's groups; taking one away ends their sign-ins and grants."""
    if config is None:
        signed_in().send("POST", path("users", name, "groups"), {"groups": groups or []})
    else:

        async def work(state: State) -> None:
            from taskgate.gateway.foundation import local_users

            async with local_users(state) as users:
                await users.set_groups(name, frozenset(groups or []), state.clock.now())

        on_host(config, work)
    tell(f"{name} is in {', '.join(groups or []) or 'no group'}")


def user_disable(name: str, config: OnHost = None) -> None:
    """Cut a user off now: sign-ins, grants and live sessions end."""
    _set_disabled(name, True, config)
    tell(f"{name} is cut off")


def user_enable(name: str, config: OnHost = None) -> None:
    """Let a disabled user sign in again."""
    _set_disabled(name, False, config)
    tell(f"{name} may sign in again")


def _set_disabled(name: str, disabled: bool, config: Path | None) -> None:
    if config is None:
        signed_in().send("POST", path("users", name, "disable" if disabled else "enable"))
        return

    async def work(state: State) -> None:
        from taskgate.gateway.foundation import local_users

        async with local_users(state) as users:
            await users.set_disabled(name, disabled, state.clock.now())

    on_host(config, work)


def user_reset_mfa(name: str, config: OnHost = None) -> None:
    """Take all of a user's second factors away; their sign-ins and grants end."""
    if config is None:
        from taskgate.api.factor_shapes import FactorsReset

        removed = signed_in().post(path("users", name, "reset-mfa"), FactorsReset).removed
    else:

        async def work(state: State) -> int:
            from taskgate.gateway.foundation import local_users
            from taskgate.identity.local import normal_name

            async with local_users(state) as users:
                return await users.second.reset(normal_name(name), state.clock.now())

        removed = on_host(config, work)
    tell(f"{name} has no second factor any more ({removed} removed), and must sign in again")


def user_list(config: OnHost = None, as_json: Json = False) -> None:
    """List local users."""
    from taskgate.api.keeping_shapes import UserShown

    if config is None:
        found = signed_in().get_list("/v1/users", UserShown)
    else:

        async def work(state: State) -> list[UserShown]:
            return [
                UserShown(
                    name=user.name,
                    groups=sorted(user.groups),
                    created_at=user.created_at,
                    disabled=user.disabled,
                )
                for user in await state.store.users.list()
            ]

        found = on_host(config, work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "GROUPS", "STATE", "SINCE"),
        (
            (
                one.name,
                ", ".join(one.groups),
                "disabled" if one.disabled else "",
                at(one.created_at),
            )
            for one in found
        ),
        "no users",
    )


def secret_set(name: str, config: OnHost = None) -> None:
    """Store a secret; its value comes from standard input, or is asked for."""
    if sys.stdin.isatty():
        value = ask_password(f"Value of {name}", from_stdin=False)
    else:
        value = sys.stdin.read(MAX_SECRET_CHARS + 1).removesuffix("\n")
    if not value:
        stop("an empty secret is none", Exit.USAGE)
    if config is None:
        signed_in().send("PUT", path("secrets", *name.split("/")), {"value": value})
    else:

        async def work(state: State) -> None:
            from taskgate.gateway.foundation import ensure_not_reserved
            from taskgate.model.secret import Secret

            ensure_not_reserved(name)
            await state.secrets.set(name, Secret(value), by="host", now=state.clock.now())

        on_host(config, work)
    tell(f"secret {name} is stored")


def secret_remove(name: str, config: OnHost = None) -> None:
    """Forget a stored secret."""
    if config is None:
        signed_in().send("DELETE", path("secrets", *name.split("/")))
    else:

        async def work(state: State) -> None:
            from taskgate.gateway.foundation import ensure_not_reserved

            ensure_not_reserved(name)
            if not await state.secrets.remove(name):
                stop(f"there is no stored secret {name}", Exit.NOT_FOUND)

        on_host(config, work)
    tell(f"secret {name} is gone")


def secret_list(config: OnHost = None, as_json: Json = False) -> None:
    """List stored secrets by name; no value is ever shown."""
    from taskgate.api.keeping_shapes import SecretShown

    if config is None:
        found = signed_in().get_list("/v1/secrets", SecretShown)
    else:

        async def work(state: State) -> list[SecretShown]:
            return [
                SecretShown(name=one.name, set_at=one.set_at, set_by=one.set_by)
                for one in await state.secrets.list()
            ]

        found = on_host(config, work)
    if as_json:
        print_json(found)
        return
    print_table(
        ("NAME", "SET", "BY"), ((one.name, at(one.set_at), one.set_by) for one in found), "none"
    )


def secret_rotate(config: ConfigFile) -> None:
    """Put every stored secret under a new master key. On the gateway's host."""

    async def work(state: State) -> str:
        return await state.secrets.rotate()

    tell(f"the master key is now {on_host(config, work)}")
