"""What the gate would say of a statement, and why, without running it.

Names are looked up at the resource with the statement that a session would use, in a connection
that reads the catalog and nothing else. The caller's statement itself never goes there.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import cast

import asyncpg

from taskgate.gateway.secrets import Secrets
from taskgate.gateway.tls import UpstreamContexts
from taskgate.gateway.upstream import UpstreamSecrets
from taskgate.model import limits
from taskgate.model.action import Action
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import BadConfig, UpstreamFault
from taskgate.model.identity import Identity
from taskgate.model.resource import Resource, SecretRef
from taskgate.policy.explain import Explanation, explain
from taskgate.policy.judge import judge
from taskgate.policy.rules import Policy, Task
from taskgate.policy.ssh_verbs import SSH
from taskgate.protocols.gate import Gate
from taskgate.protocols.postgres.judging import Judged, judge_text
from taskgate.protocols.ssh.commands import read_command
from taskgate.protocols.ssh.requests import OPEN, advisory, shell_tier
from taskgate.sql.catalog import Catalog, catalog_query, parse_catalog_answer
from taskgate.sql.entries import CatalogAnswer, NeededName
from taskgate.sql.facts import SessionNames

MAX_AT_ONCE = 4
LookUp = Callable[[frozenset[NeededName]], Awaitable[CatalogAnswer]]


@dataclass(frozen=True, slots=True)
class Explained:
    """`decision` is what a session would get; `explanation` has every rule. `notes` say what
    either rests on."""

    decision: Decision
    explanation: Explanation
    notes: tuple[str, ...]


class _Judging:
    """As much of a session's gate as judging a text asks for."""

    def __init__(self, policy: Policy, task: Task, resource: str) -> None:
        self._policy = policy
        self._task = task
        self._resource = resource

    def judge(self, actions: Sequence[Action]) -> Decision:
        return judge(self._policy.version, self._task, self._resource, actions)

    def policy_version(self) -> str:
        return self._policy.version


class Explaining:
    """Explains statements against real catalogs."""

    def __init__(self, secrets: Secrets, contexts: UpstreamContexts) -> None:
        self._secrets = secrets
        self._contexts = contexts
        self._room = asyncio.Semaphore(MAX_AT_ONCE)

    async def explain(
        self,
        policy: Policy,
        task: Task,
        resource: Resource,
        identity: Identity | None,
        text: str,
        now: float,
    ) -> Explained:
        """What `task` says of `text` at `resource`, for `identity`, at `now`.

        Raises: Unreadable where the text cannot be read, UpstreamFault where the resource cannot
        be asked what its names mean.
        """
        if resource.protocol == SSH.protocol:
            return _explain_command(policy, task, resource.name, identity, text, now)
        async with self._room, asyncio.timeout(limits.LOGIN_TIMEOUT_S):
            connection = await self._connect(resource)
            try:

                async def look_up(names: frozenset[NeededName]) -> CatalogAnswer:
                    return parse_catalog_answer(await connection.fetchval(catalog_query(names)))

                return await explain_with(policy, task, resource.name, identity, text, now, look_up)
            except (asyncpg.PostgresError, OSError) as error:
                raise UpstreamFault(
                    f"resource {resource.name} could not say what the names mean:"
                    f" {type(error).__name__}"
                ) from None
            finally:
                connection.terminate()

    async def _connect(self, resource: Resource) -> asyncpg.Connection:
        credential = resource.credential
        found = UpstreamSecrets(
            password=await self._value(credential.password),
            certificate=await self._value(credential.certificate),
            private_key=await self._value(credential.private_key),
        )
        context = self._contexts.get(resource.tls, resource.ca_file, found.client_certificate())
        try:
            return await asyncpg.connect(
                host=resource.host,
                port=resource.port,
                user=credential.username,
                password=found.password,
                database=resource.database or resource.databases[0],
                ssl=context if context is not None else False,
                timeout=limits.UPSTREAM_CONNECT_TIMEOUT_S,
                command_timeout=limits.UPSTREAM_CONNECT_TIMEOUT_S,
                statement_cache_size=0,
                server_settings={
                    "application_name": "taskgate explain",
                    "default_transaction_read_only": "on",
                },
            )
        except IndexError:
            raise BadConfig(f"resource {resource.name} names no database to ask") from None
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            OSError,
            TimeoutError,
            ssl.SSLError,
        ) as error:
            raise UpstreamFault(
                f"resource {resource.name} cannot be asked what the names mean:"
                f" {type(error).__name__}",
                hint="explain it from the files alone: taskgate policy explain --dir DIR ...",
            ) from None

    async def _value(self, ref: SecretRef | None) -> str | None:
        return None if ref is None else (await self._secrets.get(ref)).reveal()


async def explain_with(
    policy: Policy,
    task: Task,
    resource: str,
    identity: Identity | None,
    text: str,
    now: float,
    look_up: LookUp,
) -> Explained:
    """The same with any way to look names up; `look_up` answers what they mean.

    Raises: Unreadable, and whatever `look_up` raises.
    """
    if task.vocabulary.protocol == SSH.protocol:
        return _explain_command(policy, task, resource, identity, text, now)
    judged = await _judged(policy, task, resource, text, now, look_up)
    explanation = explain(policy, task.name, resource, identity, judged.actions, now)
    notes = []
    if judged.decision.outcome != explanation.decision.outcome:
        # What the words of the statement alone do not show: a guess at a masked value, say.
        notes.append(f"beyond the rules: {judged.decision.reason}")
    if judged.tainted:
        notes.append("errors and notices of the resource are replaced: they might quote a value")
    return Explained(judged.decision, explanation, tuple(notes))


def _explain_command(
    policy: Policy, task: Task, resource: str, identity: Identity | None, text: str, now: float
) -> Explained:
    command = read_command(text)
    explanation = explain(policy, task.name, resource, identity, command.actions, now)
    opened = judge(policy.version, task, resource, (shell_tier(OPEN),))
    rule = f"{task.name}/otherwise"
    if explanation.decision.rule == rule and opened.rule != rule and not _is_denied(opened):
        actions = (shell_tier(OPEN), *advisory(command.actions))
        explanation = explain(policy, task.name, resource, identity, actions, now)
        note = "sent as it is, under shell: open; what can be seen of it is advisory"
    elif command.why:
        note = f"a script, sent as it is, because its commands cannot be told: {command.why}"
    else:
        note = f"sent to the host as: {command.sent}"
    return Explained(explanation.decision, explanation, (note,))


def _is_denied(decision: Decision) -> bool:
    return decision.outcome is Outcome.DENY


async def _judged(
    policy: Policy, task: Task, resource: str, text: str, now: float, look_up: LookUp
) -> Judged:
    catalog = Catalog()
    # Judging asks a gate for `judge` alone; the rest of it is a session's.
    gate = cast(Gate, _Judging(policy, task, resource))
    steps = judge_text(text, catalog, SessionNames(), gate, now)
    try:
        needed = next(steps)
        while True:
            catalog.add(await look_up(needed.names), now)
            needed = steps.send(catalog)
    except StopIteration as done:
        judged: Judged = done.value
        return judged
