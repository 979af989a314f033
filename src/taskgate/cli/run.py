"""Running a command under a fresh grant, and the settings that let other tools do so."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from taskgate.cli import profile as profiles
from taskgate.cli.access import For, grant_body
from taskgate.cli.client import Client, Refused, path, signed_in
from taskgate.cli.exits import Exit, Stop, stop
from taskgate.cli.output import at, emit, tell
from taskgate.cli.step_up import stepping_up
from taskgate.cli.workload import Source, exchanged, gateway, give_up

if TYPE_CHECKING:
    from taskgate.api.shapes import Connection, GrantIssued, Reachable

Reason = Annotated[str, typer.Option(help="What it is for; it is recorded.")]
OnlyResource = Annotated[str, typer.Option("--resource", help="Which of the task's resources.")]

# What libpq would otherwise take from the caller's own surroundings, and so go past the gate or
# fail in odd ways. https://www.postgresql.org/docs/current/libpq-envars.html
_STRAY = (
    "PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGPASSFILE", "PGSSLCERT", "PGSSLKEY",
    "PGSSLCRL", "PGSSLCRLDIR", "PGSSLSNI", "PGREQUIRESSL", "PGREQUIREAUTH", "PGREQUIREPEER",
    "PGCHANNELBINDING", "PGSSLNEGOTIATION", "PGSSLCERTMODE", "PGTARGETSESSIONATTRS",
    "PGLOADBALANCEHOSTS", "PGUSER", "PGPASSWORD", "PGDATABASE", "PGHOST", "PGPORT",
)  # fmt: skip
# What could ask for more tokens of the job's own, or for another grant: not for the command.
_OF_THE_JOB = (
    "TASKGATE_TOKEN", "TASKGATE_IDENTITY", "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)  # fmt: skip
# From another process these are meant for the command; from the terminal it has them already.
_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_TERMINAL = (signal.SIGINT, signal.SIGQUIT)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    takes_all = {"allow_extra_args": True, "ignore_unknown_options": True}
    app.command("exec", context_settings=takes_all)(exec_)
    app.command("connect", context_settings=takes_all)(connect)
    app.command("env")(env)


def exec_(
    task: str,
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="What to run.")],
    reason: Reason = "",
    lasts: For = "",
    resource: OnlyResource = "",
    identity: Source = "",
) -> None:
    """Run a command under a fresh grant of TASK; the grant ends with the command."""
    if identity:
        _refuse_wishes(reason, lasts)
        raise SystemExit(_run_as_job(identity, task, command, resource))
    raise SystemExit(run_under(task, command, reason, lasts, resource))


def connect(
    task: str,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGUMENTS...]", help="For psql or ssh.")
    ] = None,
    reason: Reason = "",
    lasts: For = "",
    resource: OnlyResource = "",
) -> None:
    """Open psql, or ssh, under a fresh grant of TASK; the grant ends with it."""
    raise SystemExit(run_under(task, (), reason, lasts, resource, arguments or ()))


def env(
    task: str,
    reason: Reason = "",
    lasts: For = "",
    resource: OnlyResource = "",
    show: Annotated[
        bool, typer.Option("--show", help="Print the token even to a terminal.")
    ] = False,
    identity: Source = "",
) -> None:
    """Print shell settings for TASK under a new grant: eval "$(taskgate env TASK)"."""
    if sys.stdout.isatty() and not show:
        stop(
            "this would show a token on your screen",
            Exit.USAGE,
            hint=f'eval "$(taskgate env {shlex.quote(task)} --reason ...)", or add --show',
        )
    if identity:
        _refuse_wishes(reason, lasts)
        found = exchanged(gateway(), identity, task, resource)
        for name, value in settings(found.as_issued(), resource).items():
            emit(f"export {name}={shlex.quote(value)}\n")
        emit("# end it with: taskgate done\n")
        return
    why = reason or "taskgate env"
    _, issued = stepping_up(signed_in(), lambda c: _issue(c, task, why, lasts, resource))
    for name, value in settings(issued, resource).items():
        emit(f"export {name}={shlex.quote(value)}\n")
    emit(f"# end it with: taskgate revoke {shlex.quote(issued.grant.id)}\n")
    tell(f"grant {issued.grant.id} until {at(issued.grant.expires_at)}")


def run_under(
    task: str,
    command: Sequence[str],
    reason: str,
    lasts: str,
    resource: str,
    arguments: Sequence[str] = (),
) -> int:
    """Runs `command` under a fresh grant of `task`; its exit status (128 and the signal's number
    where one killed it). The grant is revoked whatever happened. Without a command it is the
    resource's own client, with `arguments`."""
    if command and shutil.which(command[0]) is None:
        stop(f"there is no command {command[0]!r}", Exit.COMMAND_NOT_FOUND)
    client = signed_in()
    # Its name only: arguments may hold what is nobody's business.
    name = os.path.basename(command[0]) if command else ""
    why = reason or (f"taskgate exec {name}" if command else "taskgate connect")
    try:
        client, issued = stepping_up(client, lambda c: _issue(c, task, why, lasts, resource))
        surroundings = {k: v for k, v in os.environ.items() if k not in _STRAY}
        surroundings.pop("TASKGATE_SSH_HOST", None)
        # The command gets the grant's token, not the one that could ask for more.
        surroundings.pop("TASKGATE_TOKEN", None)
    except Stop as end:
        if end.code == Exit.FAILED:
            end.code = Exit.NOT_STARTED
        raise
    try:
        surroundings |= settings(issued, resource)
        if not command:
            command = _client(surroundings, arguments)
        program = shutil.which(command[0], path=surroundings.get("PATH"))
        if program is None:
            stop(f"there is no command {command[0]!r}", Exit.COMMAND_NOT_FOUND)
        return _run(program, command, surroundings)
    finally:
        _end(client, issued.grant.id)


def _client(surroundings: Mapping[str, str], arguments: Sequence[str]) -> list[str]:
    host = surroundings.get("TASKGATE_SSH_HOST")
    return ["psql", *arguments] if host is None else ["ssh", host, *arguments]


def _refuse_wishes(reason: str, lasts: str) -> None:
    if reason or lasts:
        stop(
            "a job states no reason and no time",
            Exit.USAGE,
            hint="its trust rule says how long; what it is for is in its own claims",
        )


def _run_as_job(identity: str, task: str, command: Sequence[str], resource: str) -> int:
    """The same as the job that this is; its grant is given up whatever happened."""
    program = shutil.which(command[0])
    if program is None:
        stop(f"there is no command {command[0]!r}", Exit.COMMAND_NOT_FOUND)
    client = gateway()
    found = exchanged(client, identity, task, resource)
    try:
        kept = {k: v for k, v in os.environ.items() if k not in (*_STRAY, *_OF_THE_JOB)}
        if identity.startswith("env:"):
            kept.pop(identity.removeprefix("env:"), None)
        kept |= settings(found.as_issued(), resource)
        program = shutil.which(command[0], path=kept.get("PATH")) or program
        return _run(program, command, kept)
    finally:
        try:
            give_up(client, found.access_token)
        except Stop as end:
            tell(f"taskgate: the grant could not be ended and runs out by itself: {end.message}")


def settings(issued: Reachable, resource: str) -> Mapping[str, str]:
    """What libpq and its kin, or OpenSSH's programs, read from the environment. Raises: Stop where
    it is not plain which of several resources is meant."""
    reach = _the_one(issued.connections, resource)
    if reach.protocol == "ssh":
        from taskgate.cli.ssh import ssh_settings

        return ssh_settings(reach, issued.token)
    if reach.protocol != "postgres":
        stop(f"this taskgate does not know how to set up {reach.protocol}", Exit.FAILED)
    values = {
        "PGHOST": reach.host,
        "PGPORT": str(reach.port),
        "PGUSER": reach.user,
        "PGPASSWORD": issued.token,
        "PGSSLMODE": "verify-full" if reach.tls else "disable",
        "PGGSSENCMODE": "disable",
    }
    if reach.database:
        values["PGDATABASE"] = reach.database
    if reach.tls:
        values["PGSSLROOTCERT"] = _trusted(issued.ca_pem)
    return values


def _trusted(ca_pem: str) -> str:
    if ca_pem:
        return str(profiles.write_private(f"{profiles.profile_name()}.gate-ca.pem", ca_pem))
    found = ssl.get_default_verify_paths()
    return found.cafile or found.openssl_cafile


def _the_one(connections: Sequence[Connection], resource: str) -> Connection:
    fitting = [c for c in connections if not resource or c.resource == resource]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(c.resource for c in connections)
    stop("the task has several resources", Exit.USAGE, hint=f"add --resource, one of: {names}")


def _issue(client: Client, task: str, reason: str, lasts: str, resource: str) -> GrantIssued:
    from taskgate.api.shapes import GrantIssued

    issued = client.post("/v1/grants", GrantIssued, grant_body(task, reason, lasts, resource))
    try:
        _the_one(issued.connections, resource)
    except Stop:
        _end(client, issued.grant.id)
        raise
    return issued


def _end(client: Client, grant_id: str) -> None:
    try:
        client.send("POST", path("grants", grant_id, "revoke"), {"why": "the command has ended"})
    except Refused as refused:
        if refused.status not in (404, 409):
            tell(f"taskgate: grant {grant_id} could not be ended: {refused.message}")
    except Stop as end:
        tell(f"taskgate: grant {grant_id} could not be ended and runs out by itself: {end.message}")


def _run(program: str, command: Sequence[str], surroundings: Mapping[str, str]) -> int:
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if child is None:
            early.append(number)
        elif child.poll() is None:
            child.send_signal(number)

    # In the foreground of a terminal, Ctrl-C reaches the command without us.
    shares_terminal = _in_foreground()
    before = {}
    for watched in (*_FORWARDED, *_TERMINAL):
        ignore = watched in _TERMINAL and shares_terminal
        before[watched] = signal.signal(watched, _nothing if ignore else forward)
    try:
        child = subprocess.Popen([*command], executable=program, env=dict(surroundings))  # noqa: S603
        for number in early:
            child.send_signal(number)
        status = child.wait()
    except OSError as error:
        stop(f"cannot run {command[0]!r}: {error.strerror}", Exit.CANNOT_EXECUTE)
    finally:
        for watched, handler in before.items():
            signal.signal(watched, handler)
    return status if status >= 0 else 128 - status


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler, not SIG_IGN: an ignored signal would stay ignored in the command."""


def _in_foreground() -> bool:
    try:
        with open("/dev/tty", "rb", buffering=0) as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
