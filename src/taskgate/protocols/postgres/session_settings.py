"""Settings that come with the start-up packet: judged like the SET statements they stand for."""

from collections.abc import Iterable

from taskgate.model.decision import Outcome
from taskgate.model.errors import Denied
from taskgate.protocols.gate import Gate
from taskgate.sql.analyse import analyse
from taskgate.sql.catalog import Catalog
from taskgate.sql.facts import NeedNames, SessionNames
from taskgate.sql.script import parse_script

# Encodings under which the resource takes the client's bytes for the UTF-8 that the gate reads.
_UTF8 = frozenset({"utf8", "unicode", "sqlascii"})


def judge_settings(settings: Iterable[tuple[str, str]], gate: Gate) -> None:
    """Checks each (name, value).

    Raises:
        Denied: the task does not permit one of them.
        Unreadable: its name is none.
    """
    for name, value in settings:
        if name == "client_encoding":
            _check_encoding(value)
            continue
        script = parse_script(f"SET {_identifier(name)} TO {_literal(value)}")
        found = analyse(script, Catalog(schemas=(), user=""), SessionNames())
        if isinstance(found, NeedNames):
            raise _refusal(name, "it cannot be judged")
        decision = gate.judge([action for s in found.statements for action in s.actions])
        if decision.outcome is not Outcome.PERMIT:
            raise _refusal(name, decision.reason)


def _check_encoding(value: str) -> None:
    if "".join(c for c in value.lower() if c.isalnum()) not in _UTF8:
        raise Denied(
            f"client_encoding {value} is refused: the gate reads UTF8 only",
            rule="unknown is refused",
            hint="set PGCLIENTENCODING=UTF8, or leave it out",
        )


def _refusal(name: str, reason: str) -> Denied:
    return Denied(
        f'the start-up setting "{name}" is refused: {reason}',
        rule="settings",
        hint="leave it out of the connection string, or ask for a task that permits set",
    )


def _identifier(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
