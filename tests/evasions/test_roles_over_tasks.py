"""An auditor of one task sees nothing of another: not by search, list, replay or guess."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskgate.gateway.config import load_config
from taskgate.gateway.foundation import open_state
from taskgate.model.grant import SessionInfo
from taskgate.model.identity import Identity
from taskgate.model.ids import new_id
from tests.api.gate import POLICY, Gate, start_gate

PEOPLE = {
    "ann": ("analysts",),
    "lea": ("leads",),
    "aud": ("audit",),
    "sal": ("sales-audit",),
    "adm": ("admins",),
    "two": ("sales-audit", "lead-audit"),
}
SCOPED = """
---
{kind: Role, name: sales-auditors, for: {groups: [sales-audit]},
 may: [audit, replay, revoke], tasks: ["sales-*"]}
---
{kind: Role, name: lead-auditors, for: {groups: [lead-audit]},
 may: [audit, replay], tasks: lead-work}
"""


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    running = asyncio.run(
        start_gate(tmp_path_factory.mktemp("scoped"), people=PEOPLE, policy_text=POLICY + SCOPED)
    )
    yield running
    running.stop()


def rows(gate: Gate, who: str, query: str = "") -> list[dict[str, object]]:
    answer = gate.call(who, "GET", f"/v1/audit/search?limit=1000{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["entries"])


async def session_of(gate: Gate, grant: str, task: str) -> str:
    """A past session of a grant, as the store has it."""
    info = SessionInfo(
        new_id("s"), grant, Identity("ann"), task, "shop", "postgres", "127.0.0.1", "psql", 1.0
    )
    async with open_state(load_config(gate.config)) as state:
        await state.store.sessions.add(info, "another-node")
    return info.id


def test_a_search_finds_only_what_belongs_to_the_auditor_s_tasks(gate: Gate) -> None:
    gate.grant("ann", "sales-report")
    gate.grant("lea", "lead-work")
    gate.grant("ann", "both-shops")
    everything = {row["task"] for row in rows(gate, "aud")}
    assert {"sales-report", "lead-work", "both-shops", ""} <= everything
    assert {row["task"] for row in rows(gate, "sal")} == {"sales-report"}
    assert {row["task"] for row in rows(gate, "two")} == {"sales-report", "lead-work"}
    for query in (
        "&task=lead-work", "&task=LEAD-WORK", "&who=lea", "&task=%25", "&text=", "&verb=login",
        "&session=log",
    ):  # fmt: skip
        assert {row["task"] for row in rows(gate, "sal", query)} <= {"sales-report"}, query


def test_lists_of_grants_and_sessions_are_narrowed_too(gate: Gate) -> None:
    sales, leads = gate.grant("ann", "sales-report"), gate.grant("lea", "lead-work")
    asyncio.run(session_of(gate, sales, "sales-report"))
    asyncio.run(session_of(gate, leads, "lead-work"))
    for path in ("/v1/grants?all=true", "/v1/sessions?all=true"):
        found = gate.call("sal", "GET", path).json()
        assert {one["task"] for one in found} == {"sales-report"}, path
        assert {one["task"] for one in gate.call("aud", "GET", path).json()} > {"sales-report"}


def test_a_recording_of_another_task_is_as_if_it_were_not_there(gate: Gate) -> None:
    leads = gate.grant("lea", "lead-work")
    session = asyncio.run(session_of(gate, leads, "lead-work"))
    # The gateway's own log: sign-ins, votes, policies. It belongs to no task.
    log = next(str(row["session"]) for row in rows(gate, "aud") if row["task"] == "")
    told = {
        gate.call("sal", "GET", f"/v1/recordings/{one}").text
        for one in (session, "s-0000000000000", log)
    }
    assert len(told) == 1
    assert "no recording" in told.pop()


def test_what_concerns_the_gate_as_a_whole_needs_the_right_over_everything(gate: Gate) -> None:
    for method, path, body in (
        ("POST", "/v1/audit/verify", None),
        ("GET", "/v1/policy/history", None),
        ("POST", "/v1/where-used", {"what": "local:lea"}),
        ("GET", "/v1/hygiene", None),
    ):
        answer = gate.call("sal", method, path, body)
        assert answer.status_code == 403, path
        assert "over all tasks" in answer.json()["detail"] or path == "/v1/where-used"


def test_a_grant_of_another_task_is_not_theirs_to_revoke(gate: Gate) -> None:
    leads, sales = gate.grant("lea", "lead-work"), gate.grant("ann", "sales-report")
    assert gate.call("sal", "DELETE", f"/v1/grants/{leads}").status_code == 404
    assert gate.call("sal", "DELETE", f"/v1/grants/{sales}").status_code == 204


def test_a_hold_of_another_task_is_not_shown_to_them(gate: Gate) -> None:
    held = asyncio.run(gate.held(gate.grant("ann", "sales-report")))
    assert gate.call("sal", "GET", f"/v1/approvals/{held}").status_code == 200
    assert gate.call("adm", "GET", f"/v1/approvals/{held}").status_code == 404


def test_whoever_keeps_users_does_not_give_themselves_a_role(gate: Gate) -> None:
    for name in ("adm", "ADM", " adm "):
        answer = gate.call("adm", "POST", f"/v1/users/{name}/groups", {"groups": ["audit"]})
        assert answer.status_code == 403, name
    assert "audit" not in gate.call("adm", "GET", "/v1/me").json()["rights"]


def test_whoami_says_over_which_tasks(gate: Gate, tmp_path: Path) -> None:
    me = gate.call("two", "GET", "/v1/me").json()
    assert me["over"] == {
        "audit": ["lead-work", "sales-*"],
        "replay": ["lead-work", "sales-*"],
        "revoke": ["sales-*"],
    }
