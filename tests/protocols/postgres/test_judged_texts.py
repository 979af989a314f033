"""Verdicts are remembered by text, so many of them."""

from typing import Any, cast

import pytest

from taskgate.model import limits
from taskgate.model.decision import Decision, Outcome
from taskgate.protocols.postgres.judging import Judged, JudgedTexts
from taskgate.sql.catalog import Catalog

NOW = 1.0
DECISION = Decision(Outcome.DENY, "r", "f:1", "", "v1")


def judged(text: str, catalog: Catalog) -> Judged:
    nothing = cast(Any, None)
    return Judged(
        text, nothing, nothing, (), DECISION, catalog, catalog.generation, NOW + 5, False, False,
        False, True,
    )  # fmt: skip


@pytest.mark.cap("MAX_CACHED_DECISIONS")
def test_so_many_verdicts_are_remembered_and_the_one_used_longest_ago_goes() -> None:
    catalog = Catalog(schemas=(), user="")
    texts = JudgedTexts()
    for number in range(limits.MAX_CACHED_DECISIONS):
        texts.put(judged(f"SHOW x{number}", catalog))
    assert texts.get("SHOW x0", catalog, "v1", NOW) is not None
    texts.put(judged("SHOW one_more", catalog))
    assert texts.get("SHOW one_more", catalog, "v1", NOW) is not None
    assert texts.get("SHOW x0", catalog, "v1", NOW) is None
    assert texts.get("SHOW x1", catalog, "v1", NOW) is not None
