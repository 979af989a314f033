"""Narrower grants out of grants: who may derive, and that nothing gets wider."""

from typing import Any

import httpx
import pytest

from tests.api.gate import Gate

READ = {"select": ["shop.orders"]}


def issued(gate: Gate, who: str = "ann", task: str = "both-shops") -> dict[str, Any]:
    answer = gate.call(who, "POST", "/v1/grants", {"task": task, "reason": "a test"})
    assert answer.status_code == 201
    return dict(answer.json())


def derive(gate: Gate, grant: str, body: dict[str, Any], who: str | None = "ann") -> httpx.Response:
    return gate.call(who, "POST", f"/v1/grants/{grant}/derive", body)


def by_token(gate: Gate, token: str, grant: str, body: dict[str, Any]) -> httpx.Response:
    with gate.client() as client:
        headers = {"Authorization": f"Bearer {token}"}
        return client.post(f"/v1/grants/{grant}/derive", headers=headers, json=body)


def test_a_child_of_a_child_carries_the_whole_chain(gate: Gate) -> None:
    root = issued(gate)
    first = derive(gate, root["grant"]["id"], {"permit": [READ], "step": "plan"}).json()
    second = by_token(gate, first["token"], "self", {"step": "run", "uses": 2}).json()
    assert [link["grant"] for link in second["chain"]] == [
        first["grant"]["id"], root["grant"]["id"]
    ]  # fmt: skip
    assert [link["step"] for link in second["chain"]] == ["plan", ""]
    assert second["permit"] == [["select: [shop.orders]"]]
    assert (second["uses_left"], second["grant"]["step"]) == (2, "run")
    assert second["grant"]["expires_at"] <= root["grant"]["expires_at"]


def test_never_wider(gate: Gate) -> None:
    root = issued(gate)
    narrow = derive(
        gate, root["grant"]["id"], {"resources": ["shop"], "lasts_s": 60, "uses": 1}
    ).json()
    child = narrow["grant"]["id"]
    for body, status in (
        ({"resources": ["shop-eu"]}, 403),
        ({"lasts_s": 120}, 403),
        ({"uses": 2}, 403),
        ({"permit": [{"explode": ["shop.orders"]}]}, 422),
        ({"permit": [{"select": ["orders"]}]}, 422),
        ({"permit": [{"select": []}]}, 422),
        ({"permit": []}, 422),
        ({"permit": [{"transaction": ["*"]}]}, 422),
        ({"step": "x\u001b"}, 422),
        ({"task": "lead-work"}, 422),
    ):
        assert derive(gate, child, body).status_code == status, body
    assert derive(gate, child, {"lasts_s": 30}).status_code == 201


def test_revoking_the_parent_ends_the_tree(gate: Gate) -> None:
    root = issued(gate)
    child = derive(gate, root["grant"]["id"], {}).json()
    grandchild = by_token(gate, child["token"], "self", {}).json()
    gate.call("ann", "POST", f"/v1/grants/{root['grant']['id']}/revoke", {"why": "done"})
    live = {one["id"] for one in gate.call("ann", "GET", "/v1/grants").json()}
    assert live.isdisjoint({child["grant"]["id"], grandchild["grant"]["id"]})
    for token in (root["token"], child["token"], grandchild["token"]):
        assert by_token(gate, token, "self", {}).status_code == 401


def test_a_token_opens_its_own_grant_and_nothing_else(gate: Gate) -> None:
    root = issued(gate)
    child = derive(gate, root["grant"]["id"], {}).json()
    assert by_token(gate, child["token"], root["grant"]["id"], {}).status_code == 404
    assert derive(gate, root["grant"]["id"], {}, "bob").status_code == 404
    assert derive(gate, root["grant"]["id"], {}, "adm").status_code == 404
    with gate.client() as client:
        headers = {"Authorization": f"Bearer {child['token']}"}
        for path in ("/v1/me", "/v1/grants", "/v1/tasks"):
            assert client.get(path, headers=headers).status_code == 401, path


def test_an_agent_enters_only_where_the_task_lets_agents_in(gate: Gate) -> None:
    root = issued(gate)
    answer = derive(gate, root["grant"]["id"], {"agent": "helper"})
    assert answer.status_code == 403
    assert "agent" in answer.json()["hint"]


@pytest.mark.cap("MAX_DELEGATION_DEPTH")
def test_depth_is_bounded(own_gate: Gate) -> None:
    token = issued(own_gate)["token"]
    statuses = []
    for _ in range(18):
        answer = by_token(own_gate, token, "self", {})
        statuses.append(answer.status_code)
        if answer.status_code == 201:
            token = answer.json()["token"]
    assert statuses == [201] * 16 + [413] * 2
