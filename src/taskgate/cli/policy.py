"""Policy files: checked here, applied and explained by the gateway."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from taskgate.cli.access import Json
from taskgate.cli.client import signed_in
from taskgate.cli.exits import Exit, stop
from taskgate.cli.host import OnHost, on_host
from taskgate.cli.output import at, print_json, print_table, say, tell

policy = typer.Typer(
    help="Check, apply and explain policy files.", no_args_is_help=True, rich_markup_mode=None
)
MAX_STATEMENT_CHARS = 2 * 1024 * 1024


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    policy.command("check")(check)
    policy.command("apply")(apply)
    policy.command("history")(history)
    policy.command("explain")(explain)
    app.add_typer(policy, name="policy")


def check(folder: Path) -> None:
    """Check a folder of policy files; needs no gateway."""
    from taskgate.policy.load import load_dir

    loaded = load_dir(folder)
    say(f"good: {len(loaded.resources)} resources, {len(loaded.tasks)} tasks,")
    say(f"      {len(loaded.roles)} roles; version {loaded.version}")


def apply(
    folder: Annotated[
        Path | None, typer.Argument(help="Left out: the gateway's own folder.")
    ] = None,
    note: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    config: OnHost = None,
) -> None:
    """Put a policy in force: a folder's files, or the gateway's own folder read again."""
    from taskgate.policy.load import load_dir, read_dir

    if config is not None:
        _apply_at_host(folder, config)
        return
    files = None
    if folder is not None:
        load_dir(folder)  # errors come with the folder's own lines, and without a round trip
        files = read_dir(folder)
    from taskgate.api.policy_shapes import PolicyApplied

    applied = signed_in().post("/v1/policy/apply", PolicyApplied, {"files": files, "note": note})
    tell(f"policy {applied.version} is in force")


def _apply_at_host(folder: Path | None, config: Path) -> None:
    from taskgate.gateway.foundation import State
    from taskgate.model.token import PolicyVersion
    from taskgate.policy.load import load_dir

    if folder is None:
        stop("name the folder with the policy files", Exit.USAGE)
    loaded = load_dir(folder)

    async def work(state: State) -> None:
        now = state.clock.now()
        await state.store.policies.apply(PolicyVersion(loaded.version, loaded.files, now, "host"))

    on_host(config, work)
    tell(f"policy {loaded.version} is in the store; a running gateway takes it up in a second")


def history(as_json: Json = False) -> None:
    """List the applied versions, newest first."""
    from taskgate.api.policy_shapes import PolicyApplied

    found = signed_in().get_list("/v1/policy/history", PolicyApplied)
    if as_json:
        print_json(found)
        return
    print_table(
        ("VERSION", "APPLIED", "BY", ""),
        (
            (one.version, at(one.applied_at), one.applied_by, "in force" if one.current else "")
            for one in found
        ),
        "no policy has been applied",
    )


def explain(
    statement: Annotated[
        str, typer.Argument(help="SQL, or a command line; - reads it from standard input.")
    ],
    task: Annotated[str, typer.Option(help="Under which task.")],
    who: Annotated[str, typer.Option("--as", metavar="NAME", help="For whom.")] = "",
    resource: Annotated[str, typer.Option(help="Where, if the task has several.")] = "",
    folder: Annotated[
        Path | None,
        typer.Option("--dir", help="From these files alone, without a gateway: write names whole."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what the policy says of a statement, rule by rule. Nothing is run."""
    if statement == "-":
        statement = sys.stdin.read(MAX_STATEMENT_CHARS)
    if folder is not None:
        if who or as_json:
            stop("--as and --json need a gateway; leave them out, or --dir", Exit.USAGE)
        _explain_offline(statement, task, resource, folder)
        return
    from taskgate.api.policy_shapes import Explained

    client = signed_in()
    body = {"task": task, "text": statement, "who": who or None, "resource": resource or None}
    found = client.post("/v1/policy/explain", Explained, body)
    if as_json:
        print_json(found)
        return
    say(found.rendered)
    for note in found.notes:
        say(f"note: {note}")


def _explain_offline(statement: str, task: str, resource: str, folder: Path) -> None:
    import asyncio
    import time

    from taskgate.gateway.assumed_names import NOTE, assume
    from taskgate.gateway.explaining import explain_with
    from taskgate.policy.explain import render_text
    from taskgate.policy.load import load_dir
    from taskgate.sql.entries import CatalogAnswer, NeededName

    loaded = load_dir(folder)
    meant = loaded.tasks.get(task)
    if meant is None:
        stop(f"there is no task {task} in {folder}", Exit.NOT_FOUND)

    async def look_up(names: frozenset[NeededName]) -> CatalogAnswer:
        return assume(names, statement)

    place = resource or meant.resources[0]
    found = asyncio.run(explain_with(loaded, meant, place, None, statement, time.time(), look_up))
    say(render_text(found.explanation))
    for note in (*found.notes, NOTE):
        say(f"note: {note}")
