"""What the tour's stops are made of: one thing to see, and how to be sure of it."""

from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from taskgate.demo.people import ANA
from taskgate.demo.shop import DATABASE
from taskgate.demo.visitor import NotAsPromised, Said, Visitor


@dataclass(frozen=True, slots=True)
class Stop:
    """One thing to see. `visit` returns what was seen, or raises NotAsPromised."""

    promise: str
    visit: Callable[[Visitor], str]


def must(condition: bool, otherwise: str) -> None:
    """Raises: NotAsPromised."""
    if not condition:
        raise NotAsPromised(otherwise)


def good(said: Said) -> str:
    """What a command printed that went well. Raises: NotAsPromised."""
    must(said.status == 0, f"failed: {last(said.err)}")
    return said.out.strip()


def last(text: str) -> str:
    """Its last line."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no word"


def first_error(said: Said) -> str:
    """The line in which psql says what went wrong."""
    return next((line for line in said.err.splitlines() if "ERROR" in line), last(said.err))


async def by_asyncpg(visitor: Visitor) -> "asyncpg.Connection[asyncpg.Record]":
    """A connection of ana's under sales-report."""
    good(visitor.cli(ANA, "request", "sales-report", "--reason", "a driver"))
    token = good(visitor.cli(ANA, "token", "sales-report"))
    return await asyncpg.connect(
        host="127.0.0.1",
        port=visitor.shop.gate.ports.postgres,
        user="sales-report",
        password=token,
        database=DATABASE,
        ssl=False,
    )
