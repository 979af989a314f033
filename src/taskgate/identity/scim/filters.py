"""Filters and attribute paths (RFC 7644 sections 3.4.2.2 and 3.5.2). Pure."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taskgate.identity.scim.faults import ScimFault, bad_filter, bad_path
from taskgate.model import limits

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<string>\"(?:[^\"\\]|\\.)*\")|(?P<sign>[()\[\]])"
    r"|(?P<number>-?\d+(?:\.\d+)?(?![\w.:-]))"
    r"|(?P<word>(?:urn:[\w.:-]+:)?\$?[A-Za-z][\w$.:-]*))"
)
_ATTRIBUTE: Final = re.compile(
    r"(?:(?P<schema>urn:[\w.:-]+):)?(?P<name>\$?[A-Za-z][\w$-]*)(?:\.(?P<sub>\$?[A-Za-z][\w$-]*))?\Z"
)
_OPERATORS: Final = frozenset({"eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"})
# Strings that are compared as they are; all others without regard to case (RFC 7643 section 7).
_EXACT: Final = frozenset({"id", "externalid", "value", "$ref", "created", "lastmodified"})


@dataclass(frozen=True, slots=True)
class AttributePath:
    """`name.sub` of a schema, in lower case; `schema` and `sub` empty where not given."""

    name: str
    sub: str = ""
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Compare:
    """`path operator value`; the operator `pr` (present) has no value."""

    path: AttributePath
    operator: str
    value: str | bool | float | None = None


@dataclass(frozen=True, slots=True)
class Some:
    """`path[inner]`: one value of a multi-valued attribute fulfils all of `inner`."""

    path: AttributePath
    inner: "Filter"


@dataclass(frozen=True, slots=True)
class Not:
    inner: "Filter"


@dataclass(frozen=True, slots=True)
class Both:
    left: "Filter"
    right: "Filter"


@dataclass(frozen=True, slots=True)
class Either:
    left: "Filter"
    right: "Filter"


Filter = Compare | Some | Not | Both | Either


@dataclass(frozen=True, slots=True)
class Target:
    """A PATCH path: an attribute, perhaps some of its values, perhaps one of their parts."""

    path: AttributePath
    only: Filter | None = None


def parse_filter(text: str) -> Filter:
    """Raises: ScimFault (invalidFilter)."""
    if len(text) > limits.MAX_SCIM_FILTER_CHARS:
        raise bad_filter(f"the filter is longer than {limits.MAX_SCIM_FILTER_CHARS} characters")
    parser = _Parser(_tokens(text))
    found = parser.either(0)
    parser.end()
    return found


def parse_target(text: str) -> Target:
    """Raises: ScimFault (invalidPath, invalidFilter)."""
    if len(text) > limits.MAX_SCIM_FILTER_CHARS:
        raise bad_path("the path is too long")
    head, bracket, rest = text.strip().partition("[")
    path = parse_path(head)
    if not bracket:
        return Target(path)
    inner, closing, tail = rest.rpartition("]")
    if not closing or path.sub:
        raise bad_path(f"the path {text[:200]!r} cannot be read")
    sub = tail.strip()
    if sub and not re.fullmatch(r"\.\$?[A-Za-z][\w$-]*", sub):
        raise bad_path(f"the path {text[:200]!r} cannot be read")
    return Target(
        AttributePath(path.name, sub.removeprefix(".").lower(), path.schema), parse_filter(inner)
    )


def parse_path(text: str) -> AttributePath:
    """Raises: ScimFault (invalidPath)."""
    found = _ATTRIBUTE.match(text.strip())
    if found is None:
        raise bad_path(f"the path {text[:200]!r} cannot be read")
    return AttributePath(
        found["name"].lower(), (found["sub"] or "").lower(), (found["schema"] or "").lower()
    )


def matches(resource: Mapping[str, Any], wanted: Filter) -> bool:
    """Whether a resource, or one value of a multi-valued attribute, fulfils a filter."""
    match wanted:
        case Both(left, right):
            return matches(resource, left) and matches(resource, right)
        case Either(left, right):
            return matches(resource, left) or matches(resource, right)
        case Not(inner):
            return not matches(resource, inner)
        case Some(path, inner):
            values = values_at(resource, path)
            return any(isinstance(value, Mapping) and matches(value, inner) for value in values)
        case Compare(path, operator, value):
            found = values_at(resource, path)
            if operator == "pr":
                return any(one not in (None, "", [], {}) for one in found)
            exact = (path.sub or path.name) in _EXACT
            if operator == "ne":
                return not any(_holds("eq", one, value, exact) for one in found)
            if value is None:
                return operator == "eq" and not found
            return any(_holds(operator, one, value, exact) for one in found)


def values_at(resource: Mapping[str, Any], path: AttributePath) -> list[Any]:
    """The values that a path names: all of a multi-valued attribute's. A complex value without a
    part named stands for its `value` (RFC 7644 section 3.4.2.2)."""
    where: Any = resource
    if path.schema:
        extension = _get(resource, path.schema)
        where = extension if isinstance(extension, Mapping) else resource
    found = _get(where, path.name)
    several = found if isinstance(found, list) else [] if found is None else [found]
    if path.sub:
        several = [_get(one, path.sub) for one in several if isinstance(one, Mapping)]
    return [one for one in several if one is not None]


def _get(value: Mapping[str, Any], name: str) -> Any:
    return next((item for key, item in value.items() if key.lower() == name), None)


def _holds(operator: str, found: Any, asked: Any, exact: bool) -> bool:
    if isinstance(found, Mapping):
        found = _get(found, "value")
    if isinstance(found, bool) or isinstance(asked, bool):
        return operator == "eq" and found is asked
    if isinstance(found, int | float) and isinstance(asked, int | float):
        return _ORDER[operator](found, asked) if operator in _ORDER else False
    if not isinstance(found, str) or not isinstance(asked, str):
        return False
    left, right = (found, asked) if exact else (found.casefold(), asked.casefold())
    match operator:
        case "co":
            return right in left
        case "sw":
            return left.startswith(right)
        case "ew":
            return left.endswith(right)
    return _ORDER[operator](left, right)


_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda a, b: bool(a == b),
    "gt": lambda a, b: bool(a > b),
    "ge": lambda a, b: bool(a >= b),
    "lt": lambda a, b: bool(a < b),
    "le": lambda a, b: bool(a <= b),
}


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        if text[at:].isspace():
            break
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise bad_filter(f"the filter cannot be read at character {at + 1}")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    return tokens


class _Parser:
    """Recursive descent over tokens; `or` binds less than `and`, `and` less than `not`."""

    def __init__(self, tokens: Sequence[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise bad_filter(f"the filter goes on where it should end: {self._tokens[self._at][1]}")

    def either(self, depth: int) -> Filter:
        if depth > limits.MAX_SCIM_FILTER_DEPTH:
            raise bad_filter("the filter is nested too deep")
        left = self._both(depth)
        while self._word("or"):
            left = Either(left, self._both(depth))
        return left

    def _both(self, depth: int) -> Filter:
        left = self._one(depth)
        while self._word("and"):
            left = Both(left, self._one(depth))
        return left

    def _one(self, depth: int) -> Filter:
        if self._word("not"):
            return Not(self._bracket("(", ")", depth))
        if self._peek() == ("sign", "("):
            return self._bracket("(", ")", depth)
        try:
            path = parse_path(self._next("word"))
        except ScimFault as fault:
            raise bad_filter(fault.message) from None
        if self._peek() == ("sign", "["):
            return Some(path, self._bracket("[", "]", depth))
        operator = self._next("word").lower()
        if operator == "pr":
            return Compare(path, operator)
        if operator not in _OPERATORS:
            raise bad_filter(f"there is no operator {operator[:50]}")
        return Compare(path, operator, self._value())

    def _bracket(self, opening: str, closing: str, depth: int) -> Filter:
        self._sign(opening)
        inner = self.either(depth + 1)
        self._sign(closing)
        return inner

    def _value(self) -> str | bool | float | None:
        kind, text = self._peek()
        self._at += 1
        if kind == "string":
            try:
                value: str = json.loads(text)
            except ValueError:
                raise bad_filter("a text in the filter is not written as JSON") from None
            return value
        if kind == "number":
            return float(text)
        word = text.lower()
        if word not in ("true", "false", "null"):
            raise bad_filter("a value in the filter is no text, number, true, false or null")
        return None if word == "null" else word == "true"

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _next(self, kind: str) -> str:
        found, text = self._peek()
        if found != kind:
            raise bad_filter("the filter ends too early, or has something missing")
        self._at += 1
        return text

    def _word(self, word: str) -> bool:
        kind, text = self._peek()
        if kind == "word" and text.lower() == word:
            self._at += 1
            return True
        return False

    def _sign(self, sign: str) -> None:
        if self._peek() != ("sign", sign):
            raise bad_filter(f"the filter lacks a {sign}")
        self._at += 1
