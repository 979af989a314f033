"""YAML text to plain values with line numbers, and none of YAML's surprises.

Only mappings, lists and scalars. Anchors, aliases, tags, merge keys and duplicate keys are
refused. Scalars resolve by the core schema of YAML 1.2 (section 10.3.2) narrowed to what people
mean: `on`, `no`, `22:00`, `0x10`, `010` and dates stay text. Parsing is iterative and capped, so
that no file can exhaust the stack or memory.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml
from yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from taskgate.model.errors import BadConfig
from taskgate.model.limits import MAX_POLICY_DEPTH, MAX_POLICY_FILE_BYTES

# A value of a document. Mappings keep the order of the file.
Value = str | int | float | bool | None | list["Value"] | dict[str, "Value"]
Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\Z")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}\Z")
_NULL = ("", "~", "null")
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file. `lines` has the line (from 1) of each key and list item by path."""

    file: str
    value: Value
    lines: Mapping[Path, int]

    def where(self, path: Path = ()) -> str:
        """`file:line` of `path`, or of the nearest thing around it."""
        for length in range(len(path), -1, -1):
            line = self.lines.get(path[:length])
            if line is not None:
                return f"{self.file}:{line}"
        return self.file


@dataclass(slots=True)
class _Open:
    """A mapping or list that is not closed yet. `key` waits for its value."""

    value: list[Value] | dict[str, Value]
    path: Path
    key: str | None = None
    key_lines: dict[str, int] = field(default_factory=dict)


def parse_documents(text: str, file: str) -> tuple[Document, ...]:
    """Every document in `text`; empty ones are left out.

    Raises: BadConfig with `file:line`.
    """
    if len(text.encode()) > MAX_POLICY_FILE_BYTES:
        raise BadConfig(
            f"larger than {MAX_POLICY_FILE_BYTES} bytes", where=file, hint="split the file"
        )
    try:
        return tuple(_documents(yaml.parse(text, Loader=yaml.SafeLoader), file))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else 1
        problem = error.problem or "not readable as YAML"
        raise BadConfig(
            f"not YAML: {problem}", where=f"{file}:{line}", hint=_yaml_hint(problem, text, line)
        ) from None
    except yaml.YAMLError as error:
        message = str(error).splitlines()[0]
        raise BadConfig(f"not YAML: {message}", where=file) from None


def _yaml_hint(problem: str, text: str, line: int) -> str:
    lines = text.splitlines()
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    if "*" in shown:
        return 'a * needs quotes in YAML: "*", "sales.*"'
    if "@" in shown or "`" in shown:
        return 'a value that begins with @ needs quotes in YAML: "@catalog"'
    if "\t" in shown:
        return "indent with spaces, not tabs"
    return "quote values that hold : # { } [ ] , & * ! | > % @"


def _documents(events: Iterator[Event], file: str) -> Iterator[Document]:
    stack: list[_Open] = []
    lines: dict[Path, int] = {}
    root: Value = None
    filled = False
    for event in events:
        line = _line(event)
        where = f"{file}:{line}"
        if isinstance(event, DocumentStartEvent):
            if event.version or event.tags:
                raise BadConfig("a % directive", where=where, hint="leave it out")
            stack, lines, root, filled = [], {(): line}, None, False
        elif isinstance(event, DocumentEndEvent):
            if filled and root is not None:
                yield Document(file, root, lines)
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            stack.pop()
        elif isinstance(event, AliasEvent):
            raise BadConfig(
                f"an alias (*{event.anchor})",
                where=where,
                hint='write it out; a star is quoted: "*"',
            )
        elif isinstance(event, ScalarEvent | MappingStartEvent | SequenceStartEvent):
            _refuse_extras(event, where)
            if isinstance(event, ScalarEvent) and stack and _awaits_key(stack[-1]):
                _take_key(stack[-1], event, line, file, lines)
                continue
            if stack and _awaits_key(stack[-1]):
                raise BadConfig("a key is a word, not a list or mapping", where=where)
            value = _value_of(event)
            path = _place(stack, value, line, lines)
            if not stack:
                root, filled = value, True
                lines[()] = line
            if isinstance(value, list | dict):
                if len(stack) >= MAX_POLICY_DEPTH:
                    raise BadConfig(f"nested deeper than {MAX_POLICY_DEPTH}", where=where)
                stack.append(_Open(value, path))


def _line(event: Event) -> int:
    mark = event.start_mark
    return mark.line + 1 if mark is not None else 1


def _refuse_extras(event: ScalarEvent | MappingStartEvent | SequenceStartEvent, where: str) -> None:
    if event.anchor is not None:
        raise BadConfig(
            f"an anchor (&{event.anchor})", where=where, hint="write the value where it is used"
        )
    if event.tag is not None:
        raise BadConfig(
            f"a tag ({event.tag})", where=where, hint="leave it out; quotes make a text"
        )


def _awaits_key(top: _Open) -> bool:
    return isinstance(top.value, dict) and top.key is None


def _take_key(top: _Open, event: ScalarEvent, line: int, file: str, lines: dict[Path, int]) -> None:
    key = event.value
    if key == "<<" and event.style is None:
        raise BadConfig("a merge key (<<)", where=f"{file}:{line}", hint="write the keys out")
    if key in top.key_lines:
        raise BadConfig(
            f"the key {key!r} stands twice, first in line {top.key_lines[key]}",
            where=f"{file}:{line}",
            hint="keep one of the two",
        )
    top.key, top.key_lines[key] = key, line
    lines[(*top.path, key)] = line


def _place(stack: list[_Open], value: Value, line: int, lines: dict[Path, int]) -> Path:
    """Puts `value` where the parser stands; returns its path."""
    if not stack:
        return ()
    top = stack[-1]
    if isinstance(top.value, list):
        path: Path = (*top.path, len(top.value))
        top.value.append(value)
        lines[path] = line
        return path
    key = top.key or ""
    top.value[key] = value
    top.key = None
    return (*top.path, key)


def _value_of(event: ScalarEvent | MappingStartEvent | SequenceStartEvent) -> Value:
    if isinstance(event, MappingStartEvent):
        return {}
    if isinstance(event, SequenceStartEvent):
        return []
    text: str = event.value
    if event.style is not None:
        return text
    if text.lower() in _NULL:
        return None
    if text.lower() in _BOOLEANS:
        return _BOOLEANS[text.lower()]
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text):
        return float(text)
    return text
