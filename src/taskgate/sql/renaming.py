"""Columns under the names that an alias list gives them."""

from collections.abc import Sequence
from dataclasses import replace

from taskgate.sql.scope import Rows


def renamed(rows: Rows, names: Sequence[str]) -> Rows:
    """The first columns renamed; the rest keep their names."""
    if not names:
        return rows
    fields = list(rows.fields)
    for at, name in enumerate(names[: len(fields)]):
        fields[at] = fields[at].renamed(name)
    return replace(rows, fields=tuple(fields))
