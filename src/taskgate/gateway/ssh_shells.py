"""Which shell a client gets, and what runs under the tier `open`; what of a channel is recorded.

A client that asks for a shell gets `open` where a rule permits or holds that, else `gated`. A
command that no rule permits runs as it is where a rule permits or holds `open`.
"""

from taskgate.gateway.enforcement import TaskGate
from taskgate.gateway.ssh_terminal import RecordedStream, TerminalRecord
from taskgate.model.action import Action
from taskgate.model.decision import Decision, Outcome
from taskgate.model.errors import Denied
from taskgate.protocols.ssh.conversation import Asked, Stream
from taskgate.protocols.ssh.requests import (
    GATED,
    OPEN,
    ExecRequest,
    exec_request,
    is_old_scp,
    open_request,
    shell_request,
    shell_tier,
)


def read_request(asked: Asked, gate: TaskGate) -> ExecRequest:
    """What a channel asks for, as it is judged. Raises: Denied, Unreadable."""
    resource = gate.info.resource

    def permits(action: Action) -> bool:
        return gate.judge((action,)).outcome is Outcome.PERMIT

    if asked.is_shell:
        return shell_request(asked, _tier(gate), resource, permits)
    found = exec_request(asked, resource, permits)
    if asked.place is not None:
        return found  # a line of a gated shell, which nothing opens
    decision = gate.judge(found.request.actions)
    if _speaks(gate, decision):
        return found
    if _has(gate, OPEN):
        return open_request(asked, resource, permits)
    if decision.outcome is Outcome.DENY and not _is_by_rule(gate, decision) and is_old_scp(found):
        raise Denied(
            f"scp's old protocol: no rule of task {gate.info.task} permits it",
            rule=decision.rule,
            hint="leave out -O: scp then goes by SFTP, which is judged by path",
        )
    return found


def recorded(
    asked: Asked, request: ExecRequest, record: TerminalRecord, within: Stream | None,
    max_bytes: int | None,
) -> RecordedStream | None:  # fmt: skip
    """The stream that records a channel: one with a terminal, every shell, and every command where
    the task says `record: {output: true}`."""
    if asked.terminal is None and request.sent is not None and not record.wanted:
        return None
    record.started(asked.terminal, request.tier)
    return RecordedStream(record, within, max_bytes)


def _tier(gate: TaskGate) -> str:
    if _has(gate, OPEN):
        return OPEN
    if _has(gate, GATED):
        return GATED
    for tier in (OPEN, GATED):
        if _is_by_rule(gate, gate.judge((shell_tier(tier),))):
            return tier  # denied, and the rule says why
    raise Denied(
        "a shell: nothing permits it",
        rule="unknown is refused",
        hint="give a command: ssh TASK@gate 'COMMAND'",
    )


def _has(gate: TaskGate, tier: str) -> bool:
    return _speaks(gate, gate.judge((shell_tier(tier),)))


def _speaks(gate: TaskGate, decision: Decision) -> bool:
    """Whether a rule permits or holds it; that a task holds the rest says nothing of it."""
    return decision.outcome is not Outcome.DENY and _is_by_rule(gate, decision)


def _is_by_rule(gate: TaskGate, decision: Decision) -> bool:
    return decision.rule != f"{gate.info.task}/otherwise"
