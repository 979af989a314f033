"""Commands on the gateway's own host, straight to its store: for whoever may read its files."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from taskgate.gateway.foundation import State

T = TypeVar("T")
ConfigFile = Annotated[
    Path, typer.Option("--config", help="The gateway's configuration.", envvar="TASKGATE_CONFIG")
]
OnHost = Annotated[
    Path | None,
    typer.Option("--config", help="On the gateway's own host: straight to its store."),
]


def on_host(file: Path, work: Callable[[State], Awaitable[T]]) -> T:
    """Runs `work` on the store that a configuration names.

    Raises: BadConfig, StoreUnavailable, and what `work` raises.
    """
    import asyncio

    from taskgate.gateway.config import load_config
    from taskgate.gateway.foundation import open_state

    config = load_config(file)

    async def run() -> T:
        async with open_state(config) as state:
            return await work(state)

    return asyncio.run(run())
