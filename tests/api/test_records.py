"""Reading the records: by whom, and that it leaves a trace."""

from tests.api.gate import Gate


def log_of(gate: Gate) -> str:
    """The first of the gateway's own: each day has one, and the day may be young."""
    found = (gate.folder / "state/recordings").rglob("gateway-*.tgr*")
    return min(path.name.partition(".")[0] for path in found)


def test_each_page_that_is_read_is_recorded(gate: Gate) -> None:
    name = log_of(gate)
    pages = [
        gate.call("rep", "GET", f"/v1/recordings/{name}?after={after}&limit=2").json()
        for after in (0, 2, 4)
    ]
    assert [[e["sequence"] for e in page["events"]] for page in pages] == [[1, 2], [3, 4], [5, 6]]
    found = gate.call("aud", "GET", "/v1/audit/search?verb=recording.read&who=rep").json()
    assert len([e for e in found["entries"] if e["object"] == name]) == 3


def test_a_search_is_itself_found(gate: Gate) -> None:
    gate.call("aud", "GET", "/v1/audit/search?object=shop.orders&since=1")
    found = gate.call("aud", "GET", "/v1/audit/search?verb=audit.searched").json()
    assert len(found["entries"]) >= 1


def test_a_search_says_if_there_is_more(gate: Gate) -> None:
    few = gate.call("aud", "GET", "/v1/audit/search?limit=2").json()
    assert (len(few["entries"]), few["complete"]) == (2, False)
    all_ = gate.call("aud", "GET", "/v1/audit/search?limit=10000").json()
    assert all_["complete"]
    assert all_["entries"][0]["at"] >= all_["entries"][-1]["at"]


def test_odd_questions_are_refused(gate: Gate) -> None:
    for query in (
        "since=nan", "since=-1", "since=inf", "limit=0", "limit=100000", "outcome=maybe",
        "who=" + "x" * 600,
    ):  # fmt: skip
        assert gate.call("aud", "GET", f"/v1/audit/search?{query}").status_code == 422, query


def test_what_people_write_is_searched_as_it_is(gate: Gate) -> None:
    for text in ("%", "_", "'", '"', "\\", "'; DROP TABLE audit_entries; --"):
        answer = gate.call("aud", "GET", "/v1/audit/search?limit=10000")
        assert answer.status_code == 200
        with gate.client("aud") as client:
            found = client.get("/v1/audit/search", params={"text": text, "limit": 100})
        assert found.status_code == 200
        assert all(text.lower() in entry["text"].lower() for entry in found.json()["entries"])


def test_the_records_verify(gate: Gate) -> None:
    report = gate.call("aud", "POST", "/v1/audit/verify").json()
    assert report["findings"] == []
    assert report["entries"] > 0
    assert "intact" in report["rendered"]


def test_ending_a_users_access_ends_what_they_hold(own_gate: Gate) -> None:
    grant = own_gate.grant("ann")
    own_gate.token("ann")
    assert own_gate.call("adm", "POST", "/v1/users/ann/disable").status_code == 204
    assert own_gate.call("ann", "GET", "/v1/me").status_code == 401
    found = own_gate.call("aud", "GET", "/v1/grants?all=true").json()
    assert grant not in [one["id"] for one in found]
    entries = own_gate.call("aud", "GET", "/v1/audit/search?verb=user.changed").json()["entries"]
    assert [(e["who"], e["object"], e["reason"]) for e in entries] == [
        ("local:adm", "ann", "disabled")
    ]


def test_taking_a_group_away_takes_away_what_it_gave(own_gate: Gate) -> None:
    grant = own_gate.grant("ann")
    assert own_gate.call("adm", "POST", "/v1/users/ann/groups", {"groups": []}).status_code == 204
    assert own_gate.call("ann", "GET", "/v1/me").status_code == 401
    found = own_gate.call("aud", "GET", "/v1/grants?all=true").json()
    assert grant not in [one["id"] for one in found]
