"""The policy: checked, applied, looked back on, explained."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request

from taskgate.api.caller import CallerHere, PartsHere, may, need
from taskgate.api.policy_shapes import (
    ExplainAsked,
    Explained,
    PolicyApplied,
    PolicyChecked,
    PolicyFiles,
    RuleShown,
)
from taskgate.gateway.explaining import Explaining
from taskgate.gateway.parts import Parts
from taskgate.model.errors import Denied, NotFound
from taskgate.model.event import EventKind
from taskgate.model.identity import Identity, IdentityKind
from taskgate.model.token import PolicyVersion
from taskgate.policy.explain import render_text
from taskgate.policy.load import load_files
from taskgate.policy.people import may_take_up
from taskgate.policy.problems import PolicyErrors, said
from taskgate.policy.rules import Policy, Right

router = APIRouter(prefix="/policy")


@router.post("/check")
async def check(asked: PolicyFiles, caller: CallerHere, parts: PartsHere) -> PolicyChecked:
    """Whether files are good, and what they would define; nothing is applied. Needs the right to
    author or administer."""
    need(parts.policies.current, caller.identity, Right.AUTHOR, Right.ADMINISTER)
    try:
        policy = await asyncio.to_thread(load_files, asked.files or {})
    except PolicyErrors as error:
        return PolicyChecked(
            version="", resources=[], tasks=[], errors=[said(one) for one in error.errors]
        )
    return PolicyChecked(
        version=policy.version,
        resources=sorted(policy.resources),
        tasks=sorted(policy.tasks),
        errors=[],
    )


@router.post("/apply")
async def apply(asked: PolicyFiles, caller: CallerHere, parts: PartsHere) -> PolicyApplied:
    """Puts a policy in force: the files given, or those of the configured folder, read again.
    Needs the right to author."""
    need(parts.policies.current, caller.identity, Right.AUTHOR)
    before = parts.policies.current.version
    # Checked before it is recorded; recorded before it counts.
    checked = await parts.policies.checked(asked.files)
    facts = {"name": checked.version, "before": before, "reason": asked.note}
    await parts.records.log(EventKind.POLICY_APPLIED, caller.identity, facts)
    applied = await parts.policies.put_in_force(checked, caller.key)
    return _applied(applied, parts.policies.current)


@router.get("/history")
async def history(caller: CallerHere, parts: PartsHere) -> list[PolicyApplied]:
    """Applied versions, newest first. Needs the right to author, administer or audit."""
    need(parts.policies.current, caller.identity, Right.AUTHOR, Right.ADMINISTER, Right.AUDIT)
    current = parts.policies.current
    return [_applied(one, current) for one in await parts.policies.history()]


@router.get("/versions/{version}")
async def version(
    version: Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")], caller: CallerHere, parts: PartsHere
) -> PolicyFiles:
    """The files of an applied version. Needs the right to author, administer or audit."""
    need(parts.policies.current, caller.identity, Right.AUTHOR, Right.ADMINISTER, Right.AUDIT)
    found = await parts.policies.version(version)
    if found is None:
        raise NotFound("there is no such version", hint="taskgate policy history lists them")
    return PolicyFiles(files=dict(found.files))


def _explaining_of(request: Request) -> Explaining:
    explaining: Explaining = request.app.state.explaining
    return explaining


@router.post("/explain")
async def explain(
    asked: ExplainAsked,
    caller: CallerHere,
    parts: PartsHere,
    explaining: Annotated[Explaining, Depends(_explaining_of)],
) -> Explained:
    """What the policy would say of a statement, rule by rule; nothing runs. For oneself, and for
    others with the right to author, administer or audit."""
    policy = parts.policies.current
    identity = await _meant(asked.who, caller.identity, parts)
    task = policy.tasks.get(asked.task)
    privileged = may(policy, caller.identity, Right.AUTHOR, Right.ADMINISTER, Right.AUDIT)
    if task is None or not (privileged or may_take_up(task, caller.identity)):
        raise NotFound(
            f"there is no task {asked.task} that you may ask about",
            hint="taskgate tasks lists those you may take up",
        )
    resource = asked.resource or task.resources[0]
    if resource not in task.resources:
        raise NotFound(f"task {task.name} does not reach a resource {resource}")
    place = policy.resources[resource]
    found = await explaining.explain(policy, task, place, identity, asked.text, parts.clock.now())
    decision = found.decision
    return Explained(
        outcome=decision.outcome.value,
        rule=decision.rule,
        source=decision.source,
        reason=decision.reason,
        hint=decision.hint,
        policy_version=policy.version,
        rules=[
            RuleShown(
                rule=rule.address,
                source=rule.source,
                effect=rule.effect.value,
                matched=rule.matched,
                entry=rule.entry,
                why=rule.why,
            )
            for trace in found.explanation.actions
            for rule in trace.rules
        ],
        notes=list(found.notes),
        rendered=render_text(found.explanation),
    )


async def _meant(who: str | None, caller: Identity, parts: Parts) -> Identity:
    """Raises: Denied, NotFound."""
    if who is None or who in (caller.subject, caller.key):
        return caller
    policy = parts.policies.current
    if not may(policy, caller, Right.AUTHOR, Right.ADMINISTER, Right.AUDIT):
        raise Denied(
            "explaining for somebody else needs the right to author, administer or audit",
            rule="roles",
            hint="leave --as out to ask for yourself",
        )
    user = await parts.people.users.get(who.removeprefix("local:"))
    if user is None:
        raise NotFound(f"there is no local user {who}", hint="taskgate user list shows them")
    return Identity(subject=user.name, kind=IdentityKind.HUMAN, groups=user.groups)


def _applied(version: PolicyVersion, current: Policy) -> PolicyApplied:
    return PolicyApplied(
        version=version.version,
        applied_at=version.applied_at,
        applied_by=version.applied_by,
        note="",
        current=version.version == current.version,
    )
