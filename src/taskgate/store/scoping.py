"""Patterns of task names (`model.audit.fits`) as conditions."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa


def of_tasks(
    column: sa.Column[Any], patterns: Collection[str] | None
) -> list[sa.ColumnElement[bool]]:
    """Rows whose task fits any of `patterns`; all rows for None."""
    if patterns is None:
        return []
    fitting = [column.like(_like(pattern), escape="\\") for pattern in sorted(patterns)]
    return [sa.and_(column != "", sa.or_(sa.false(), *fitting))]


def _like(pattern: str) -> str:
    plain = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return plain.replace("*", "%")
