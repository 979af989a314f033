"""A job's own identity: its platform's token, exchanged for one of a task's and given back."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote, urlsplit

import typer

from taskgate.cli import profile as profiles
from taskgate.cli.client import Client, trusted_ca
from taskgate.cli.exits import Exit, stop
from taskgate.cli.output import tell
from taskgate.cli.profile import Profile

if TYPE_CHECKING:
    from taskgate.api.shapes import Exchanged

Source = Annotated[
    str,
    typer.Option(
        "--identity",
        metavar="SOURCE",
        help="Act as this job instead of as a person: `github`, `env:NAME` or `file:PATH`, where"
        " its platform's token is.",
        envvar="TASKGATE_IDENTITY",
    ),
]
_GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
_SUBJECT_TYPE = "urn:ietf:params:oauth:token-type:jwt"
_MAX_TOKEN_CHARS = 16 * 1024
_TIMEOUT_S = 30.0


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    app.command()(done)


def done(
    variable: Annotated[
        str, typer.Option("--token-env", metavar="NAME", help="Where the task's token is.")
    ] = "PGPASSWORD",
) -> None:
    """End the grant whose token the environment holds, as `taskgate env` set it."""
    token = os.environ.get(variable, "")
    if not token.startswith("tg_"):
        stop(f"{variable} holds no task's token", Exit.USAGE, hint="--token-env NAME")
    give_up(gateway(), token)
    tell("the grant has ended")


def gateway() -> Client:
    """The gateway of the profile or of `TASKGATE_SERVER` and `TASKGATE_CA`, with nobody signed
    in. Raises: Stop."""
    known = profiles.load()
    ca = os.environ.get("TASKGATE_CA", "")
    ca_file = trusted_ca(known.server, ca) if ca else known.ca_file
    return Client(Profile(known.server, ca_file))


def exchanged(client: Client, source: str, task: str, resource: str) -> Exchanged:
    """A task's token for the job's own. Raises: Stop."""
    from taskgate.api.shapes import Exchanged

    form = {
        "grant_type": _GRANT_TYPE,
        "subject_token": token_of(source, client.profile.server),
        "subject_token_type": _SUBJECT_TYPE,
        "scope": task,
    }
    if resource:
        form["audience"] = resource
    return client.post_form("/v1/token", Exchanged, form)


def give_up(client: Client, token: str) -> None:
    """Ends the grant behind a task's token. Raises: Stop."""
    client.send_form("/v1/token/revoke", {"token": token})


def token_of(source: str, audience: str) -> str:
    """The job's own token. `audience` is asked for where the platform makes tokens to order.

    Raises: Stop.
    """
    kind, _, name = source.partition(":")
    if source == "github":
        token = _github(os.environ.get("TASKGATE_AUDIENCE") or audience)
    elif kind == "env" and name:
        token = os.environ.get(name, "")
    elif kind == "file" and name:
        try:
            with Path(name).open(encoding="ascii", errors="replace") as file:
                token = file.read(_MAX_TOKEN_CHARS + 1)
        except OSError as error:
            stop(f"cannot read {name}: {error.strerror}", Exit.USAGE)
    else:
        stop(f"{source!r} is no identity", Exit.USAGE, hint="github, env:NAME or file:PATH")
    token = token.strip()
    if not token.startswith("eyJ") or len(token) > _MAX_TOKEN_CHARS:
        stop(f"there is no token at {source}", Exit.NOT_SIGNED_IN)
    return token


def _github(audience: str) -> str:
    """What a job with `permissions: id-token: write` can ask its runner for."""
    url = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL", "")
    bearer = os.environ.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "")
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or not bearer:
        stop(
            "this job may not ask GitHub for a token",
            Exit.NOT_SIGNED_IN,
            hint="give the job permissions: {id-token: write}",
        )
    target = f"{parts.path}?{parts.query}&audience={quote(audience, safe='')}"
    connection = http.client.HTTPSConnection(
        parts.hostname, parts.port or 443, timeout=_TIMEOUT_S, context=ssl.create_default_context()
    )
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {bearer}"})
        answer = json.loads(connection.getresponse().read(1024 * 1024))
        return str(answer["value"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        stop(f"GitHub gave no token: {type(error).__name__}", Exit.UNREACHABLE)
    finally:
        connection.close()
