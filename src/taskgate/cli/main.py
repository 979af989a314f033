"""The `taskgate` command.

Commands live in modules by subject; what is slow to import is imported inside them, so that
`taskgate exec` costs little more than the command it runs.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from taskgate.cli import (
    access,
    admin,
    approvals,
    bootstrap,
    break_glass,
    delegation,
    host_keys,
    kept_files,
    leaving,
    mfa,
    policy,
    records,
    replays,
    run,
    ssh_access,
    workload,
)
from taskgate.cli.exits import Exit, Stop, code_of
from taskgate.cli.output import tell
from taskgate.model.errors import TaskgateError

app = typer.Typer(
    name="taskgate",
    help="Reach databases through tasks: narrow, named, time-boxed permission sets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from taskgate import __version__

        typer.echo(f"taskgate {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    profile: Annotated[
        str, typer.Option(help="Which sign-in to use.", envvar="TASKGATE_PROFILE")
    ] = "",
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    if profile:
        os.environ["TASKGATE_PROFILE"] = profile


access.register(app)
mfa.register(app)
delegation.register(app)
host_keys.register(app)
leaving.register(app)
break_glass.register(app)
bootstrap.register(app)
run.register(app)
ssh_access.register(app)
workload.register(app)
approvals.register(app)
records.register(app)
replays.register(app)
kept_files.register(app)
policy.register(app)
admin.register(app)


def main() -> None:
    """The console script: every way to end is here, and none shows a traceback."""
    try:
        app()
    except Stop as end:
        _explain(end.message, end.rule, end.hint)
        sys.exit(end.code)
    except TaskgateError as error:
        _explain(error.message, getattr(error, "rule", ""), error.hint)
        sys.exit(code_of(error))
    except BrokenPipeError:
        # The reader has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(Exit.FAILED)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get("TASKGATE_DEBUG"):
            raise
        _explain(
            f"taskgate itself failed: {type(error).__name__}",
            "",
            "this is a bug; TASKGATE_DEBUG=1 shows where",
        )
        sys.exit(Exit.FAILED)


def _explain(message: str, rule: str, hint: str) -> None:
    tell(f"taskgate: {message}")
    if rule:
        tell(f"  rule: {rule}")
    if hint:
        tell(f"  next: {hint}")


if __name__ == "__main__":
    main()
