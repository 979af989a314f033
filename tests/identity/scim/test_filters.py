"""Filters: what they find, and that nothing hostile gets far."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.identity.scim.faults import ScimFault
from taskgate.identity.scim.filters import matches, parse_filter, parse_target
from taskgate.identity.scim.patch import PATCH_OP, patched
from taskgate.identity.scim.schemas import USERS
from taskgate.model import limits

ANN: dict[str, Any] = {
    "id": "Aa1",
    "userName": "Ann@Example.com",
    "active": True,
    "name": {"familyName": "O'Hara"},
    "emails": [
        {"type": "work", "value": "ann@example.com", "primary": True},
        {"type": "home", "value": "a@home.example"},
    ],
    "meta": {"created": "2026-01-02T00:00:00Z"},
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('userName eq "ann@example.COM"', True),
        ('id eq "aa1"', False),
        ('id eq "Aa1"', True),
        ('USERNAME sw "ann"', True),
        ('name.familyName co "\'hara"', True),
        ("active eq true", True),
        ("active eq false", False),
        ('active eq "true"', False),
        ("title pr", False),
        ("emails pr", True),
        ("title eq null", True),
        ('title ne "x"', True),
        ('userName ne "ann@example.com"', False),
        ('emails[type eq "work" and value co "home"]', False),
        ('emails[type eq "home" and value co "home"]', True),
        ('emails.type eq "home" and emails.value co "work"', False),
        ('emails co "home.example"', True),
        ('not (userName sw "b") and (id eq "x" or active eq true)', True),
        ('userName sw "b" or id pr and active eq true', True),
        ('(userName sw "b" or id pr) and active eq false', False),
        ('meta.created gt "2026-01-01T00:00:00Z"', True),
        ('meta.created lt "2026-01-01T00:00:00Z"', False),
        ('urn:ietf:params:scim:schemas:core:2.0:User:userName sw "ann"', True),
        ('userName eq "\\u0061nn@example.com"', True),
        ("userName gt 3", False),
    ],
)
def test_what_a_filter_finds(text: str, found: bool) -> None:
    assert matches(ANN, parse_filter(text)) is found


@pytest.mark.parametrize(
    "text",
    [
        "", "userName", "userName eq", 'userName eq "x', "userName == 1", 'eq "x"', "()", "not",
        'userName eq "x" and', 'userName eq "x" userName', "emails[", "emails[type]", "a.b.c pr",
        'userName eq "\\q"', "userName eq x", "not not pr", "(" * 100 + "id pr" + ")" * 100,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ScimFault) as caught:
        parse_filter(text)
    assert caught.value.kind == "invalidFilter"


@pytest.mark.parametrize(
    "text", ["", "a b", "a.b.c", "emails[type", "emails]x[", "a[b pr].c.d", "1"]
)
def test_paths_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ScimFault):
        parse_target(text)


@given(st.text(alphabet='ab. "\\[]()eqnotrd:-1', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ScimFault):
        matches(ANN, parse_filter(text))


@pytest.mark.cap("MAX_SCIM_FILTER_CHARS")
def test_a_filter_has_so_many_characters() -> None:
    longest = 'userName eq "' + "x" * (limits.MAX_SCIM_FILTER_CHARS - 14) + '"'
    parse_filter(longest)
    with pytest.raises(ScimFault, match="longer than"):
        parse_filter(longest + " ")
    path = "a" * limits.MAX_SCIM_FILTER_CHARS
    parse_target(path)
    with pytest.raises(ScimFault, match="too long"):
        parse_target(path + "a")


@pytest.mark.cap("MAX_SCIM_FILTER_DEPTH")
def test_a_filter_is_nested_so_deep() -> None:
    deep = limits.MAX_SCIM_FILTER_DEPTH
    assert matches(ANN, parse_filter("(" * deep + "id pr" + ")" * deep))
    with pytest.raises(ScimFault, match="nested too deep"):
        parse_filter("(" * (deep + 1) + "id pr" + ")" * (deep + 1))


@pytest.mark.cap("MAX_SCIM_OPERATIONS")
def test_a_patch_has_so_many_operations() -> None:
    def asked(many: int) -> dict[str, Any]:
        one = {"op": "replace", "path": "active", "value": False}
        return {"schemas": [PATCH_OP], "Operations": [one] * many}

    user = {"userName": "ann", "active": True}
    assert patched(USERS, user, asked(limits.MAX_SCIM_OPERATIONS))["active"] is False
    with pytest.raises(ScimFault, match="more than 1000 operations"):
        patched(USERS, user, asked(limits.MAX_SCIM_OPERATIONS + 1))
