"""Offboarding, the map of use, hygiene: by API and by command."""

from taskgate.api.keys import key_in, segment_of
from tests.api.gate import Gate, password_of


def test_a_key_with_slashes_travels_in_one_segment() -> None:
    key = "https://idp.example/realms/x:ann/é"
    assert "/" not in segment_of(key)
    assert key_in(segment_of(key)) == key
    assert key_in("ann") == "ann"


async def test_everything_of_somebody_ends_and_the_rest_goes_on(own_gate: Gate) -> None:
    gate = own_gate
    asked = await gate.held(gate.grant("ann"))
    of_bob = await gate.held(gate.grant("bob"), who="bob", people=2)
    anns = gate.grant("ann")
    bobs = gate.grant("bob")
    gate.call("lea", "POST", f"/v1/approvals/{of_bob}/approve", {})
    token_of_ann = gate.token("ann")

    done = gate.call("off", "POST", "/v1/people/ann/offboard", {"why": "left"}).json()
    assert done["people"] == ["local:ann"]
    assert anns in done["grants"]
    assert bobs not in done["grants"]
    assert done["users"] == ["ann"]
    assert done["approvals_cancelled"] == [asked]
    assert [place["way"] for place in done["places"]] == ["sign-in"]
    assert done["places"][0]["source"] == "127.0.0.1"
    with gate.client() as client:
        headers = {"Authorization": f"Bearer {token_of_ann}"}
        assert client.get("/v1/me", headers=headers).status_code == 401
    body = {"name": "ann", "password": password_of("ann")}
    assert gate.call(None, "POST", "/v1/login", body).status_code == 401

    left = gate.call("off", "POST", "/v1/people/lea/offboard", {"why": "left too"}).json()
    assert left["approvals_withdrawn"] == [of_bob]
    still = gate.call("lou", "GET", f"/v1/approvals/{of_bob}").json()
    assert (still["state"], still["votes"]) == ("waiting", [])

    assert gate.call("off", "POST", "/v1/people/ann/reinstate", {"why": "back"}).status_code == 204
    assert gate.call(None, "POST", "/v1/login", body).status_code == 200
    again = gate.call("off", "POST", "/v1/people/ann/reinstate", {"why": "back"})
    assert again.status_code == 404
    found = gate.call("aud", "GET", "/v1/audit/search?verb=person.offboarded&who=off").json()
    assert {entry["object"] for entry in found["entries"]} == {"local:ann", "local:lea"}


def test_a_mistyped_name_does_not_look_like_success(gate: Gate) -> None:
    for name in ("anne", "local:anne", "https:~x", segment_of("https://idp.example:ann"), "~~~"):
        answer = gate.call("off", "POST", f"/v1/people/{name}/offboard", {"why": "left"})
        assert answer.status_code == 404, name


def test_nobody_offboards_themselves(gate: Gate) -> None:
    answer = gate.call("off", "POST", "/v1/people/off/offboard", {"why": "left"})
    assert answer.status_code == 403
    assert gate.call("off", "GET", "/v1/me").status_code == 200


def test_one_s_own_use_is_one_s_own_to_see(gate: Gate) -> None:
    mine = gate.call("bob", "POST", "/v1/where-used", {"what": "bob"})
    assert mine.status_code == 200
    assert {place["who"] for place in mine.json()["places"]} == {"local:bob"}
    grant = gate.grant("bob")
    assert gate.call("bob", "POST", "/v1/where-used", {"what": grant}).status_code == 200
    assert gate.call("ann", "POST", "/v1/where-used", {"what": grant}).status_code == 404
    assert gate.call("ann", "POST", "/v1/where-used", {"what": "bob"}).status_code == 403
    assert gate.call("aud", "POST", "/v1/where-used", {"what": "bob"}).status_code == 200
    assert gate.call("aud", "POST", "/v1/where-used", {"what": "bobby"}).status_code == 404


def test_whether_a_grant_is_there_is_told_to_its_holder_alone(gate: Gate) -> None:
    grant = gate.grant("bob")
    answers = [
        gate.call("ann", "POST", "/v1/where-used", {"what": what}).json()["detail"]
        for what in (grant, "g-0000000000000", "g-x", "tg_x")
    ]
    assert len(set(answers)) == 1, answers


def test_hygiene_lists_what_nobody_used(gate: Gate) -> None:
    found = gate.call("aud", "GET", "/v1/hygiene?days=30").json()
    assert {"lead-work", "both-shops"} <= {one["task"] for one in found["unused_tasks"]}
    for bad in ("0", "-1", "nan", "inf", "9999"):
        assert gate.call("aud", "GET", f"/v1/hygiene?days={bad}").status_code == 422
