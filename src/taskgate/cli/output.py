"""What commands print. Names, reasons and statements are strangers' text: none of it reaches the
terminal before `visible` has made it harmless, and none is read as markup."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from taskgate.api.visible import visible

if TYPE_CHECKING:
    from pydantic import BaseModel

PIPE_WIDTH = 240


def say(text: str = "") -> None:
    """One line or more on standard output."""
    sys.stdout.write(visible(text) + "\n")


def tell(text: str) -> None:
    """The same on standard error: for a person, beside the output that a script reads."""
    sys.stderr.write(visible(text) + "\n")
    sys.stderr.flush()


def emit(text: str) -> None:
    """Output that must arrive byte for byte: a token, a certificate, shell code."""
    sys.stdout.write(text)
    sys.stdout.flush()


def print_json(value: BaseModel | Sequence[BaseModel]) -> None:
    """The API's own shape. JSON escapes control characters, so it is safe as it is."""
    plain = (
        [item.model_dump(mode="json") for item in value]
        if isinstance(value, Sequence)
        else value.model_dump(mode="json")
    )
    sys.stdout.write(json.dumps(plain, indent=2) + "\n")


def print_json_line(value: BaseModel) -> None:
    """One object on a line of its own, at once."""
    sys.stdout.write(json.dumps(value.model_dump(mode="json")) + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """A table as wide as the terminal, or as it needs in a pipe; `empty` if there are no rows."""
    cells = [[visible(cell, lines=False) for cell in row] for row in rows]
    if not cells:
        sys.stdout.write(empty + "\n")
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tty = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = Console(file=sys.stdout, width=None if tty else PIPE_WIDTH, highlight=False)
    console.print(table)


def at(seconds: float) -> str:
    """Local time, to the second."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def span(seconds: float) -> str:
    """A duration for people: `45s`, `12m`, `3h05m`, `2d4h`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    if minutes < 60:
        return f"{minutes}m" if whole % 60 == 0 or minutes >= 10 else f"{minutes}m{whole % 60}s"
    if hours < 48:
        return f"{hours}h" if minutes % 60 == 0 else f"{hours}h{minutes % 60:02}m"
    return f"{days}d" if hours % 24 == 0 else f"{days}d{hours % 24}h"


def one_line(text: str, most: int = 80) -> str:
    """A statement's beginning, on one line; what is left out is said."""
    flat = " ".join(text.split())
    return flat if len(flat) <= most else f"{flat[: most - 1]}…"
