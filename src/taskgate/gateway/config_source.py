"""YAML with its line numbers kept, and validation errors said as `file:line`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from taskgate.model.errors import BadConfig

Address = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A document's value, and the line (from 1) on which each address in it stands."""

    name: str
    value: Any
    lines: Mapping[Address, int]

    def where(self, address: Address) -> str:
        """`file:line` of the nearest thing at or above `address`."""
        for length in range(len(address), -1, -1):
            line = self.lines.get(address[:length])
            if line is not None:
                return f"{self.name}:{line}"
        return self.name


def parse_yaml(text: str, name: str) -> Source:
    """One document, safe types only, no key twice, no aliases.

    Raises: BadConfig with `file:line`.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Address, int] = {}
        seen: set[int] = set()
        if node is not None:
            _walk(node, (), name, lines, seen)
        return Source(name, yaml.safe_load(text), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise BadConfig(f"not YAML: {error.problem or error}", where=where) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadConfig(f"not YAML: {error}", where=name) from None


def _walk(
    node: yaml.Node, address: Address, name: str, lines: dict[Address, int], seen: set[int]
) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(address, line)
    # Aliases make a small file arbitrarily large, and a value stand on two lines.
    if id(node) in seen:
        raise BadConfig("aliases (*name) are not taken here", where=f"{name}:{line}")
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key_node, value_node in node.value:
            key = str(key_node.value)
            key_line = key_node.start_mark.line + 1
            if key == "<<":
                raise BadConfig("merge keys (<<) are not taken here", where=f"{name}:{key_line}")
            if key in keys:
                raise BadConfig(f"the key {key} is given twice", where=f"{name}:{key_line}")
            keys.add(key)
            lines[(*address, key)] = key_line
            _walk(value_node, (*address, key), name, lines, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(item, (*address, index), name, lines, seen)


def problems_of(
    error: ValidationError, source: Source, model: type[BaseModel]
) -> tuple[BadConfig, ...]:
    """Pydantic's findings in the file's own terms, one for each place."""
    found: dict[Address, BadConfig] = {}
    for entry in error.errors(include_url=False, include_context=False, include_input=False):
        if any(str(part).startswith("literal[") for part in entry["loc"]):
            continue  # the other arm of a union says more
        address = _in_document(entry["loc"], source)
        where = source.where(address)
        dotted = ".".join(str(part) for part in address) or "the file"
        if entry["type"] == "extra_forbidden":
            known = _keys_at(model, address[:-1])
            near = difflib.get_close_matches(str(address[-1]), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
            problem = BadConfig(f"unknown key {dotted}; {hint}", where=where)
        elif entry["type"] == "missing":
            problem = BadConfig(f"{dotted} is missing", where=where)
        elif entry["type"] == "model_type":
            keys = ", ".join(_keys_at(model, address))
            problem = BadConfig(f"{dotted}: expected keys and values ({keys})", where=where)
        else:
            message = entry["msg"].removeprefix("Value error, ")
            problem = BadConfig(f"{dotted}: {message}", where=where)
        found.setdefault(address, problem)
    return tuple(found.values())


def _in_document(loc: Address, source: Source) -> Address:
    """Pydantic's location without the names of union arms, which stand in no document."""
    address: Address = ()
    value = source.value
    for index, part in enumerate(loc):
        here = isinstance(value, dict) and part in value
        if here or (isinstance(value, list) and isinstance(part, int) and part < len(value)):
            value = value[part]
        elif index != len(loc) - 1 or not isinstance(value, dict):
            continue
        address = (*address, part)
    return address


def _keys_at(model: type[BaseModel], address: Address) -> list[str]:
    here: type[BaseModel] | None = model
    for part in address:
        if isinstance(part, int):
            continue  # an item of a list has the list's model
        field = here.model_fields.get(str(part)) if here is not None else None
        here = _model_in(field.annotation) if field is not None else None
    return sorted(here.model_fields) if here is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)
