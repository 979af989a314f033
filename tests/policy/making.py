"""Policies and actions in few words, for tests."""

import textwrap
from collections.abc import Sequence

import pytest

from taskgate.model.action import Action
from taskgate.model.decision import Decision
from taskgate.model.identity import Identity, IdentityKind
from taskgate.policy.judge import judge
from taskgate.policy.load import load_files
from taskgate.policy.problems import PolicyErrors
from taskgate.policy.rules import Policy, Task

RESOURCE = """\
kind: Resource
name: db
protocol: postgres
address: db.internal
credential: {username: gate, password: {env: DB_PASSWORD}}
"""

HEAD = """\
kind: Task
name: t
resource: db
for: {groups: [g]}
"""


def policy(body: str, head: str = HEAD) -> Policy:
    """A policy of one resource `db` and one task `t`, which begins with `head`."""
    return load_files({"r.yaml": RESOURCE, "t.yaml": head + textwrap.dedent(body)})


def task(body: str) -> Task:
    return policy(body).tasks["t"]


def act(
    verb: str,
    name: str,
    columns: Sequence[str] | None = None,
    *,
    kind: str = "table",
    write: bool | None = None,
    compared: Sequence[str] = (),
    via: str = "",
    complete: bool = True,
) -> Action:
    """An action; `write` follows from the verb unless given."""
    reading = ("select", "show", "call", "listen", "transaction")
    return Action(
        verb,
        name,
        kind,
        verb not in reading if write is None else write,
        None if columns is None else tuple(columns),
        tuple(compared),
        via,
        complete,
    )


def decide(given: Task, *actions: Action) -> Decision:
    return judge("v1", given, "db", actions)


def outcome(given: Task, *actions: Action) -> str:
    return decide(given, *actions).outcome.value


def errors_of(files: dict[str, str] | str, head: str = HEAD) -> list[tuple[str, str, str]]:
    """(where, message, hint) of everything wrong with a task's body, or with whole files."""
    if isinstance(files, str):
        files = {"r.yaml": RESOURCE, "t.yaml": head + textwrap.dedent(files)}
    with pytest.raises(PolicyErrors) as caught:
        load_files(files)
    return [(error.where, error.message, error.hint) for error in caught.value.errors]


def person(
    name: str, *groups: str, kind: str = "human", behind: Identity | None = None
) -> Identity:
    return Identity(name, kind=IdentityKind(kind), groups=frozenset(groups), acts_for=behind)
