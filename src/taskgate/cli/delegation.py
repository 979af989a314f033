"""A grant's tokens: one more of the same, or a narrower one for a step or an agent."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from taskgate.cli import profile as profiles
from taskgate.cli.access import For, Json, token
from taskgate.cli.client import Client, path, signed_in
from taskgate.cli.output import at, emit, print_json, tell
from taskgate.cli.times import seconds_of

_SHOW = "show"
MAX_TOKEN_CHARS = 1_000


class _ShowByDefault(TyperGroup):
    """`taskgate token GRANT` is `taskgate token show GRANT`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = [_SHOW, *args]
        return super().parse_args(ctx, args)


tokens = typer.Typer(
    cls=_ShowByDefault,
    help="A grant's tokens: another of the same, or a narrower one.",
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Adds this module's commands."""
    tokens.command(_SHOW)(token)
    tokens.command("derive")(derive)
    app.add_typer(tokens, name="token")


def derive(
    grant: Annotated[str, typer.Argument(help="The live grant's id.")] = "self",
    permit: Annotated[
        list[str] | None,
        typer.Option(help='Only this, in the policy\'s words: "select: [sales.orders]". Repeat.'),
    ] = None,
    resource: Annotated[list[str] | None, typer.Option(help="Only these. Repeat.")] = None,
    lasts: For = "",
    uses: Annotated[int | None, typer.Option(help="How many sessions may be opened.")] = None,
    step: Annotated[str, typer.Option(help="What it is for; on every event.")] = "",
    agent: Annotated[str, typer.Option(help="An agent that acts for you under it.")] = "",
    reason: Annotated[str, typer.Option(help="Instead of the grant's own reason.")] = "",
    token_stdin: Annotated[
        bool, typer.Option("--token-stdin", help="Show the grant's token instead of signing in.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a narrower child of a grant and print its token. Never wider; it ends with the grant."""
    from taskgate.api.people_shapes import Derived
    from taskgate.policy.bounds import read_rule

    body = {
        "permit": [read_rule(text) for text in permit] if permit else None,
        "resources": resource or [],
        "lasts_s": seconds_of(lasts) if lasts else None,
        "uses": uses,
        "step": step,
        "agent": agent,
        "reason": reason,
    }
    client = _holder() if token_stdin else signed_in()
    made = client.post(path("grants", grant, "derive"), Derived, body)
    if as_json:
        print_json(made)
        return
    tell(f"grant {made.grant.id} for {made.grant.who} until {at(made.grant.expires_at)}")
    emit(made.token + "\n")


def _holder() -> Client:
    """The chosen gateway, shown a grant's token from standard input."""
    given = sys.stdin.readline(MAX_TOKEN_CHARS).strip()
    return Client(replace(profiles.load(), token=given))
