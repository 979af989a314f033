"""Held requests through the API: seen and decided by those who were asked, nobody else."""

import asyncio
import json
import threading
import time

import httpx

from tests.api.gate import Gate
from tests.patience import PATIENCE_S, eventually, within
from tests.recorded import recorded_text


async def test_the_asked_see_what_would_run_and_nobody_else_does(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    seen = gate.call("lea", "GET", f"/v1/approvals/{held}").json()
    assert seen["text"] == "UPDATE shop.orders SET note = 'x'"
    assert seen["parameters"] == ["1", None]
    assert (seen["who"], seen["grant_reason"]) == ("local:ann", "a test")
    assert seen["rule"] == "sales-report/hold[0]"
    assert seen["may_decide"] is True
    assert seen["url"].endswith(f"/console/approvals/{held}")
    assert held in [one["id"] for one in gate.call("lea", "GET", "/v1/approvals").json()]
    own = gate.call("ann", "GET", f"/v1/approvals/{held}").json()
    assert (own["mine"], own["may_decide"]) == (True, False)
    for other in ("bob", "rep", "rev", "adm", "aut", "non"):
        assert gate.call(other, "GET", f"/v1/approvals/{held}").status_code == 404
        assert held not in gate.call(other, "GET", "/v1/approvals").text


async def test_an_approval_counts_once(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    path = f"/v1/approvals/{held}/approve"
    first = gate.call("lea", "POST", path, {})
    assert (first.status_code, first.json()["state"]) == (200, "approved")
    for again in ("lea", "lou"):
        assert gate.call(again, "POST", path, {}).status_code == 409
    assert (
        gate.call("lea", "POST", f"/v1/approvals/{held}/deny", {"reason": "x"}).status_code == 409
    )


async def test_two_approvals_are_two_people(gate: Gate) -> None:
    held = await gate.held(gate.grant(), people=2)
    path = f"/v1/approvals/{held}/approve"
    assert gate.call("lea", "POST", path, {}).json()["state"] == "waiting"
    assert gate.call("lea", "POST", path, {}).status_code == 409
    assert gate.call("lou", "POST", path, {}).json()["state"] == "approved"


async def test_the_requester_and_strangers_cannot_decide(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    for verb, body in (("approve", {}), ("deny", {"reason": "no"})):
        assert gate.call("ann", "POST", f"/v1/approvals/{held}/{verb}", body).status_code == 403
        assert gate.call("aud", "POST", f"/v1/approvals/{held}/{verb}", body).status_code == 403
        for stranger in ("bob", "adm", "rev", "non"):
            answer = gate.call(stranger, "POST", f"/v1/approvals/{held}/{verb}", body)
            assert answer.status_code == 404
    assert gate.call("lea", "GET", f"/v1/approvals/{held}").json()["state"] == "waiting"


async def test_nobody_approves_their_own_request_even_as_a_lead(gate: Gate) -> None:
    held = await gate.held(gate.grant("lea", "lead-work"), who="lea")
    assert gate.call("lea", "POST", f"/v1/approvals/{held}/approve", {}).status_code == 403
    assert gate.call("lou", "POST", f"/v1/approvals/{held}/approve", {}).status_code == 200


async def test_a_refusal_needs_a_reason_and_ends_it(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    path = f"/v1/approvals/{held}/deny"
    for body in ({}, {"reason": ""}, {"reason": "   "}, {"reason": "line\x1b[2Jclear"}):
        assert gate.call("lea", "POST", path, body).status_code == 422
    denied = gate.call("lea", "POST", path, {"reason": "not on a Friday"})
    assert denied.json()["state"] == "denied"
    assert denied.json()["votes"][0]["reason"] == "not on a Friday"


async def test_a_standing_approval_keeps_within_the_task(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    path = f"/v1/approvals/{held}/approve"
    too_much = {"scope": "shape", "minutes": 60, "uses": 3}
    assert gate.call("lea", "POST", path, too_much).status_code == 422
    too_many = {"scope": "shape", "minutes": 5, "uses": 6}
    assert gate.call("lea", "POST", path, too_many).status_code == 422
    fits = {"scope": "shape", "minutes": 15, "uses": 5}
    assert gate.call("lea", "POST", path, fits).json()["state"] == "approved"


async def test_what_was_shown_is_what_is_approved(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    answer = gate.call("lea", "POST", f"/v1/approvals/{held}/approve", {"digest": "0" * 64})
    assert answer.status_code == 409
    shown = gate.call("lea", "GET", f"/v1/approvals/{held}").json()["digest"]
    answer = gate.call("lea", "POST", f"/v1/approvals/{held}/approve", {"digest": shown})
    assert answer.json()["state"] == "approved"


async def test_what_has_expired_or_lost_its_grant_cannot_be_approved(gate: Gate) -> None:
    late = await gate.held(gate.grant(), within_s=0.3)
    grant = gate.grant()
    revoked = await gate.held(grant)
    gate.call("ann", "DELETE", f"/v1/grants/{grant}")
    await asyncio.sleep(0.6)
    for held in (late, revoked):
        answer = gate.call("lea", "POST", f"/v1/approvals/{held}/approve", {})
        assert answer.status_code == 409, answer.text


async def test_a_vote_is_recorded_before_it_counts(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    gate.call("lea", "POST", f"/v1/approvals/{held}/approve", {})
    found = gate.call("aud", "GET", "/v1/audit/search?verb=approval.voted&who=lea").json()
    assert [e for e in found["entries"] if e["outcome"] == "approved"]


async def test_the_stream_tells_of_new_ones_and_of_their_end(own_gate: Gate) -> None:
    begun = threading.Event()
    seen: list[dict[str, object]] = []

    def listen() -> None:
        with own_gate.client("lea") as client, client.stream("GET", "/v1/approvals/stream") as s:
            for line in s.iter_lines():
                begun.set()
                if line.startswith("data: "):
                    seen.append(json.loads(line[6:]))
                if len(seen) == 2:
                    return

    listener = threading.Thread(target=listen)
    listener.start()
    assert begun.wait(PATIENCE_S)
    held = await own_gate.held(own_gate.grant())
    eventually(lambda: seen)
    own_gate.call("lou", "POST", f"/v1/approvals/{held}/approve", {})
    listener.join(PATIENCE_S)
    assert [(one["id"], one["state"]) for one in seen] == [(held, "waiting"), (held, "approved")]


def test_the_stream_ends_with_the_sign_in(own_gate: Gate) -> None:
    def ends_s() -> float:
        path = "/v1/approvals/stream"
        with own_gate.client("lea") as client, client.stream("GET", path) as stream:
            lines = stream.iter_lines()
            assert next(lines) == ": taskgate"
            own_gate.call("adm", "POST", "/v1/users/lea/disable")
            began = time.monotonic()
            for _ in lines:
                pass
            took_s = time.monotonic() - began
        own_gate.call("adm", "POST", "/v1/users/lea/enable")
        del own_gate._tokens["lea"]
        return took_s

    within(3, ends_s)


async def test_the_stream_shows_strangers_nothing(own_gate: Gate) -> None:
    held = await own_gate.held(own_gate.grant())
    with own_gate.client("bob") as client, client.stream("GET", "/v1/approvals/stream") as stream:
        lines = stream.iter_lines()
        own_gate.call("lea", "POST", f"/v1/approvals/{held}/approve", {})
        seen = []
        try:
            end = time.monotonic() + PATIENCE_S
            own_gate.call("adm", "POST", "/v1/users/bob/disable")
            for line in lines:
                seen.append(line)
                assert time.monotonic() < end
        except httpx.ReadTimeout:
            pass
        assert held not in "".join(seen)


def test_streams_are_counted(gate: Gate) -> None:
    clients = [gate.client("lou") for _ in range(9)]
    try:
        streams = [
            client.send(client.build_request("GET", "/v1/approvals/stream"), stream=True)
            for client in clients
        ]
        assert [stream.status_code for stream in streams] == [200] * 8 + [413]
    finally:
        for client in clients:
            client.close()


async def test_an_agreement_in_advance_is_seen_and_taken_back(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    body = {"scope": "shape", "minutes": 10, "uses": 3}
    gate.call("lea", "POST", f"/v1/approvals/{held}/approve", body)

    def seen(who: str) -> list[str]:
        found = gate.call(who, "GET", "/v1/standing").json()
        return [one["id"] for one in found if one["approval_id"] == held]

    (standing,) = seen("ann")
    assert seen("lou") == seen("aud") == [standing]
    for stranger in ("bob", "adm", "non"):
        assert seen(stranger) == []
        answer = gate.call(stranger, "POST", f"/v1/standing/{standing}/end")
        assert answer.status_code == 404
    assert gate.call("lou", "POST", f"/v1/standing/{standing}/end").status_code == 204
    assert seen("ann") == []
    assert gate.call("lou", "POST", f"/v1/standing/{standing}/end").status_code == 404


async def test_a_vote_that_could_not_count_is_not_recorded_as_one(gate: Gate) -> None:
    held = await gate.held(gate.grant())
    path = f"/v1/approvals/{held}"
    gate.call("lea", "POST", f"{path}/approve", {"scope": "shape", "minutes": 400})
    gate.call("lea", "POST", f"{path}/deny", {"reason": "x\u0007"})
    gate.call("ann", "POST", f"{path}/approve", {})
    assert held not in recorded_text(gate.folder / "state/recordings")
