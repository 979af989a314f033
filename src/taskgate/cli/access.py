"""Signing in, taking up tasks, and giving them back."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli import profile as profiles
from taskgate.cli.client import Client, Refused, path, signed_in, trusted_ca
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import at, emit, print_json, print_table, say, span, tell
from taskgate.cli.profile import Profile
from taskgate.cli.step_up import stepping_up
from taskgate.cli.times import seconds_of

if TYPE_CHECKING:
    from taskgate.api.shapes import GrantIssued, GrantShown, LoggedIn

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="How long: 30m, 1h, 1h30m.")]
ServerOption = Annotated[
    str, typer.Option("--server", help="The gateway's address.", envvar="TASKGATE_SERVER")
]
CaOption = Annotated[
    str,
    typer.Option(
        "--ca",
        metavar="FILE|sha256:HEX",
        help="The authority to trust: a PEM file, or the fingerprint of the gateway's own.",
        envvar="TASKGATE_CA",
    ),
]
MAX_PASSWORD_CHARS = 16 * 1024
SECOND_FACTOR = "urn:taskgate:problem:second-factor-needed"


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    for command in (login, logout, whoami, tasks, request, grants, revoke):
        app.command()(command)


def ask_password(prompt: str, *, from_stdin: bool, confirm: bool = False) -> str:
    """A password from a prompt without echo, or the first line of standard input."""
    if from_stdin:
        line = sys.stdin.readline(MAX_PASSWORD_CHARS)
        return line.removesuffix("\n").removesuffix("\r")
    if not sys.stdin.isatty():
        stop("there is no terminal to ask for a password", Exit.USAGE, hint="use --password-stdin")
    from getpass import getpass

    password = getpass(f"{prompt}: ")
    if confirm and getpass(f"{prompt}, again: ") != password:
        stop("the two do not match", Exit.USAGE)
    return password


def login(
    name: Annotated[str, typer.Argument(help="Your name at the gateway.")] = "",
    server: ServerOption = "",
    ca: CaOption = "",
    password_stdin: Annotated[
        bool,
        typer.Option(
            "--password-stdin",
            help="Read the password, and the code on a second line, from standard input.",
        ),
    ] = False,
    oidc: Annotated[
        str, typer.Option(metavar="PROVIDER", help="Sign in at this OpenID provider.")
    ] = "",
    saml: Annotated[
        str, typer.Option(metavar="PROVIDER", help="Sign in at this SAML identity provider.")
    ] = "",
    device: Annotated[
        bool, typer.Option("--device", help="With --oidc: by a code, on another device.")
    ] = False,
    browser: Annotated[
        bool, typer.Option(help="At a provider: open a browser, or only print its address.")
    ] = True,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="At a provider: the loopback port to come back to."),
    ] = 0,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="At a provider: prove yourself to it anew.")
    ] = False,
    ssh: Annotated[
        bool, typer.Option("--ssh", help="Get a certificate for ssh too; see ssh-config.")
    ] = False,
) -> None:
    """Sign in; the API token is kept in a file only you can read."""
    _sign_in(name, server, ca, oidc, saml, password_stdin, device, browser, port, fresh)
    if ssh:
        from taskgate.cli.ssh_access import certified

        tell(f"the certificate for ssh lasts until {at(certified(signed_in()))}")


def _sign_in(
    name: str,
    server: str,
    ca: str,
    oidc: str,
    saml: str,
    password_stdin: bool,
    device: bool,
    browser: bool,
    port: int,
    fresh: bool,
) -> None:
    known = profiles.load()
    server = (server or known.server).rstrip("/")
    ca_file = trusted_ca(server, ca) if ca else (known.ca_file if server == known.server else "")
    client = Client(Profile(server=server, ca_file=ca_file))
    if oidc and saml:
        stop("say either --oidc or --saml", Exit.USAGE)
    if oidc or saml:
        from taskgate.cli.sign_in import by_browser, by_device, by_saml, signed_in_as

        if saml:
            found = by_saml(client, saml, port=port, open_browser=browser, fresh=fresh)
        elif device:
            found = by_device(client, oidc, wanted={"within_s": 1.0} if fresh else None)
        else:
            found = by_browser(client, oidc, port=port, open_browser=browser, fresh=fresh)
        known = Profile(server, ca_file, provider=oidc or saml, device=device, saml=bool(saml))
        profiles.save(signed_in_as(known, found))
        tell(f"signed in to {server} as {found.me.key} until {at(found.expires_at)}")
        return
    if not name:
        name = known.name or os.environ.get("USER", "")
        if sys.stdin.isatty() and not password_stdin:
            name = typer.prompt("Name", default=name or None, err=True)
    if not name:
        stop("say who you are: taskgate login NAME", Exit.USAGE)
    password = ask_password("Password", from_stdin=password_stdin)
    answer = _signed_in_locally(
        client, {"name": name, "password": password}, from_stdin=password_stdin
    )
    profiles.save(Profile(server, ca_file, name, answer.token, answer.expires_at))
    tell(f"signed in to {server} as {answer.me.subject} until {at(answer.expires_at)}")


def _signed_in_locally(client: Client, body: dict[str, str], *, from_stdin: bool) -> LoggedIn:
    """Asks for a code where the gateway does; the second line of standard input may bring it."""
    from taskgate.api.shapes import LoggedIn

    try:
        return client.post("/v1/login", LoggedIn, body)
    except Refused as refused:
        if refused.type != SECOND_FACTOR or not (from_stdin or sys.stdin.isatty()):
            raise
    code = ask_password("Code of your authenticator app, or a recovery code", from_stdin=from_stdin)
    return client.post("/v1/login", LoggedIn, {**body, "code": code})


def logout(
    everywhere: Annotated[
        bool, typer.Option("--everywhere", help="At the identity provider too, by a browser.")
    ] = False,
) -> None:
    """End the sign-in, here and at the gateway, and what its certificate for ssh has opened.
    Grants go on; `revoke` ends those."""
    from taskgate.cli.ssh_access import forget_certificate

    profile = profiles.load()
    if profile.token:
        try:
            Client(profile).send("POST", "/v1/logout")
        except Refused as refused:
            if refused.status != 401:
                raise
    profiles.save(replace(profile, token="", expires_at=0.0, refresh="", provider="", leave=""))
    forget_certificate()
    tell("signed out")
    if profile.leave:
        from taskgate.cli.sign_in import leave

        if everywhere:
            leave(profile)
        else:
            tell(f"{profile.provider} still knows you there; --everywhere signs out of it as well")


def whoami(as_json: Json = False) -> None:
    """Show who the gateway takes you for."""
    from taskgate.api.shapes import Me

    me = signed_in().get("/v1/me", Me)
    if as_json:
        print_json(me)
        return
    say(f"{me.subject} ({me.kind}, by {me.issuer}, {me.method})")
    say(f"  groups: {', '.join(me.groups) or 'none'}")
    rights = [
        right + (f" ({', '.join(me.over[right])})" if right in me.over else "")
        for right in me.rights
    ]
    say(f"  may:    {', '.join(rights) or 'take up tasks'}")


def tasks(as_json: Json = False) -> None:
    """List the tasks you may take up."""
    from taskgate.api.shapes import TaskShown

    found = signed_in().get_list("/v1/tasks", TaskShown)
    if as_json:
        print_json(found)
        return
    print_table(
        ("TASK", "RESOURCES", "LASTS", "HOURS", "DESCRIPTION"),
        (
            (
                task.name,
                ", ".join(task.resources),
                f"{span(task.lasts_default_s)}, at most {span(task.lasts_at_most_s)}",
                (task.hours or "always") + ("" if task.open_now else " (closed now)"),
                task.description,
            )
            for task in found
        ),
        "no task is open to you; ask who keeps the policy",
    )


def request(
    task: str,
    reason: Annotated[str, typer.Option(help="What it is for; it is recorded.")],
    lasts: For = "",
    resource: Annotated[str, typer.Option(help="Only this one of the task's.")] = "",
    as_json: Json = False,
) -> None:
    """Take up a task: prints how to connect, and keeps the token out of sight."""
    from taskgate.api.shapes import GrantIssued

    asked = grant_body(task, reason, lasts, resource)
    _, issued = stepping_up(signed_in(), lambda c: c.post("/v1/grants", GrantIssued, asked))
    if as_json:
        print_json(issued.grant)
        return
    print_issued(issued)


def print_issued(issued: GrantIssued) -> None:
    """A fresh grant, and how to use it."""
    grant = issued.grant
    say(f"grant {grant.id}: {grant.task} until {at(grant.expires_at)}")
    for reach in issued.connections:
        say(f"  {reach.resource}: {reach.protocol} on {reach.host}:{reach.port}, user {reach.user}")
    say(f"  token: taskgate token {grant.id}")


def grant_body(task: str, reason: str, lasts: str, resource: str) -> dict[str, object]:
    """The JSON of `GrantAsked`."""
    return {
        "task": task,
        "reason": reason,
        "lasts_s": seconds_of(lasts) if lasts else None,
        "resource": resource or None,
    }


def token(
    grant: Annotated[str, typer.Argument(help="A live grant's id, or its task.")] = "",
) -> None:
    """Print a new token of a live grant: the password for its connections."""
    from taskgate.api.shapes import GrantShown, TokenIssued

    client = signed_in()
    live = client.get_list("/v1/grants", GrantShown)
    fitting = [g for g in live if not grant or grant in (g.id, g.task)]
    if not fitting:
        stop(
            f"you have no live grant {grant}".rstrip(),
            Exit.NOT_FOUND,
            hint="taskgate request TASK --reason ... takes one up",
        )
    if len(fitting) > 1 and not grant:
        stop("you have several live grants", Exit.USAGE, hint="name one: taskgate token GRANT")
    issued = client.post(path("grants", fitting[0].id, "tokens"), TokenIssued)
    emit(issued.token + "\n")


def grants(
    everyone: Annotated[bool, typer.Option("--all", help="Everybody's, where you may.")] = False,
    ended: Annotated[bool, typer.Option("--ended", help="Those that are over, too.")] = False,
    as_json: Json = False,
) -> None:
    """List grants."""
    from taskgate.api.shapes import GrantShown

    found = signed_in().get_list(
        "/v1/grants", GrantShown, all="true" if everyone else None, ended="true" if ended else None
    )
    if as_json:
        print_json(found)
        return
    now = time.time()
    print_table(
        ("ID", "WHO", "TASK", "RESOURCES", "STATE", "REASON"),
        ((g.id, g.who, g.task, ", ".join(g.resources), _state(g, now), g.reason) for g in found),
        "no grants; taskgate request TASK --reason ... takes one up",
    )


def _state(grant: GrantShown, now: float) -> str:
    if grant.live:
        return f"live, {span(grant.expires_at - now)} left"
    if grant.revoked_at is not None:
        return f"revoked {at(grant.revoked_at)}" + (
            f": {grant.revoked_why}" if grant.revoked_why else ""
        )
    return f"ended {at(grant.expires_at)}"


def revoke(
    grant: Annotated[str, typer.Argument(help="The grant's id.")],
    why: Annotated[str, typer.Option(help="Recorded, and told to the holder.")] = "",
) -> None:
    """End a grant now: its sessions are cut and its held requests cancelled."""
    signed_in().send("POST", path("grants", grant, "revoke"), {"why": why})
    tell(f"grant {grant} has ended")
