"""SCIM by a provider's client: compliance, and what it does to people who are signed in."""

import asyncio
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import httpx2
import pytest
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

from taskgate.identity.scim.schemas import DEPARTURE, ENTERPRISE, GROUP, USER
from tests.api.gate import Gate, start_gate
from tests.patience import PATIENCE_S

TOKEN = "a-provider-s-secret-of-40-characters-....."
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"


@pytest.fixture(scope="module")
def scim_gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with gate_with_scim(tmp_path_factory.mktemp("scim")) as gate:
        yield gate


@contextmanager
def gate_with_scim(place: Path) -> Iterator[Gate]:
    secret = place / "scim.token"
    secret.write_text(TOKEN + "\n")
    secret.chmod(0o600)
    gate = asyncio.run(start_gate(place, more="scim: {token: {file: scim.token}}\n"))
    try:
        yield gate
    finally:
        gate.stop()


@pytest.fixture
def scim(scim_gate: Gate) -> Iterator[httpx.Client]:
    with provider(scim_gate) as client:
        yield client


def provider(gate: Gate, token: str = TOKEN) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(gate.ca))
    return httpx.Client(
        base_url=f"{gate.url}/scim/v2", verify=context, timeout=PATIENCE_S, trust_env=False,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/scim+json"},
    )  # fmt: skip


def make(scim: httpx.Client, user: str, /, **more: object) -> str:
    answer = scim.post("/Users", json={"schemas": [USER], "userName": user, **more})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def change(scim: httpx.Client, path: str, *operations: dict[str, object]) -> httpx.Response:
    return scim.patch(path, json={"schemas": [PATCH], "Operations": list(operations)})


def test_a_compliance_suite_finds_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    with gate_with_scim(tmp_path_factory.mktemp("suite")) as gate:
        context = ssl.create_default_context(cafile=str(gate.ca))
        with httpx2.Client(
            base_url=f"{gate.url}/scim/v2", verify=context, timeout=PATIENCE_S,
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as http:  # fmt: skip
            client = SyncSCIMClient(http)
            client.discover()
            results = check_server(client)
    found = [
        f"{one.title}: {one.reason}"
        for one in results
        # The suite expects each extension to have something to write; this one has nothing.
        if one.status not in (Status.SUCCESS, Status.SKIPPED) and DEPARTURE not in str(one.reason)
    ]
    assert len(results) > 100
    assert found == []


@pytest.mark.parametrize("path", ["/Users", "/Groups", "/Schemas", "/ServiceProviderConfig", "/x"])
def test_only_the_providers_own_secret_opens_it(scim_gate: Gate, path: str) -> None:
    for token in ("x", scim_gate.token("adm"), TOKEN + "x", TOKEN[:-1]):
        with provider(scim_gate, token) as stranger:
            answer = stranger.get(path)
        assert answer.status_code in (401, 429), token
        assert answer.headers["content-type"] == "application/scim+json"
    # And it opens nothing else.
    with provider(scim_gate) as client:
        assert client.get(f"{scim_gate.url}/v1/me").status_code == 401


def test_without_a_configured_secret_there_is_nothing(gate: Gate) -> None:
    with provider(gate) as client:
        assert client.get("/Users").status_code == 404


@pytest.mark.cap("MIN_SCIM_TOKEN_CHARS")
def test_a_weak_secret_keeps_the_gateway_from_starting(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("weak")
    (folder / "scim.token").write_text("x" * 31)
    (folder / "scim.token").chmod(0o600)
    with pytest.raises(AssertionError, match="SCIM token is shorter"):
        asyncio.run(start_gate(folder, more="scim: {token: {file: scim.token}}\n"))


def test_filters_and_pages(scim: httpx.Client) -> None:
    for number in range(5):
        make(scim, f"Filter-{number}@example.com", externalId=f"F{number}",
             emails=[{"type": "work", "value": f"w{number}@example.com"}])  # fmt: skip
    asked: dict[str, list[int]] = {
        'userName eq "filter-3@EXAMPLE.com"': [3],
        'userName sw "filter-" and externalId eq "F2"': [2],
        'userName co "ILTER-" and not (externalId eq "F1") and active eq true': [0, 2, 3, 4],
        'emails[type eq "work" and value ew "4@example.com"]': [4],
        'emails.value eq "w0@example.com" or externalId eq "F1"': [0, 1],
        f'{USER}:userName eq "filter-1@example.com"': [1],
        'userName sw "filter-" and meta.created gt "2099-01-01T00:00:00Z"': [],
    }
    for text, numbers in asked.items():
        found = scim.get("/Users", params={"filter": text}).json()
        names = [one["userName"] for one in found["Resources"]]
        assert names == [f"Filter-{number}@example.com" for number in numbers], text
    page = scim.get(
        "/Users", params={"filter": 'userName sw "filter-"', "startIndex": 2, "count": 2}
    ).json()
    assert (page["totalResults"], page["itemsPerPage"], page["startIndex"]) == (5, 2, 2)
    only = scim.get(
        "/Users", params={"filter": 'externalId eq "F0"', "attributes": "userName,emails.value"}
    ).json()["Resources"][0]
    assert set(only) == {"id", "schemas", "userName", "emails"}
    assert only["emails"] == [{"value": "w0@example.com"}]
    by_post = scim.post(
        "/Users/.search", json={"schemas": [SEARCH], "filter": 'externalId eq "F4"'}
    ).json()
    assert by_post["totalResults"] == 1
    for bad in ("userName eq", "userName zz 1", "(", '"', "a eq b", "x" * 5000, "(" * 300):
        answer = scim.get("/Users", params={"filter": bad})
        assert (answer.status_code, answer.json()["scimType"]) == (400, "invalidFilter"), bad


def test_patches_as_the_large_providers_send_them(scim: httpx.Client) -> None:
    user = make(scim, "patched@example.com", name={"givenName": "Pat"})
    path = f"/Users/{user}"
    # One without paths, with dotted keys; one with capital letters and booleans as text.
    answer = change(
        scim, path,
        {"op": "Replace", "value": {"name.familyName": "Ched", "active": "True"}},
        {"op": "Add", "path": 'emails[type eq "work"].value', "value": "p@example.com"},
        {"op": "add", "path": f"{ENTERPRISE}:department", "value": "Sales"},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["name"] == {"givenName": "Pat", "familyName": "Ched"}
    assert found["emails"] == [{"type": "work", "value": "p@example.com"}]
    assert found[ENTERPRISE] == {"department": "Sales"}
    assert found["active"] is True
    after = change(scim, path, {"op": "remove", "path": 'emails[value co "p@"]'}).json()
    assert "emails" not in after
    refused: tuple[tuple[dict[str, object], str], ...] = (
        ({"op": "replace", "path": "nonsense", "value": 1}, "invalidPath"),
        ({"op": "replace", "path": 'emails[type eq "x"].value', "value": "v"}, "noTarget"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "path": "groups", "value": []}, "mutability"),
        ({"op": "remove", "path": "userName"}, "invalidValue"),
        ({"op": "explode", "path": "title"}, "invalidSyntax"),
        ({"op": "replace", "path": "active", "value": "perhaps"}, "invalidValue"),
    )
    for operation, kind in refused:
        answer = change(scim, path, operation)
        assert (answer.status_code, answer.json().get("scimType")) == (400, kind), operation
    assert scim.get(path).json()["userName"] == "patched@example.com"


def test_a_name_is_taken_once_whatever_its_case(scim: httpx.Client) -> None:
    make(scim, "twice@example.com")
    answer = scim.post("/Users", json={"schemas": [USER], "userName": "TWICE@example.com"})
    assert (answer.status_code, answer.json()["scimType"]) == (409, "uniqueness")


def test_a_group_counts_from_the_next_check_on_and_is_lost_at_once(
    scim_gate: Gate, scim: httpx.Client
) -> None:
    assert "leads" not in scim_gate.call("bob", "GET", "/v1/me").json()["groups"]
    bob = make(scim, "Bob")
    made = scim.post(
        "/Groups",
        json={"schemas": [GROUP], "displayName": "leads", "members": [{"value": bob}]},
    )
    assert made.status_code == 201, made.text
    group = f"/Groups/{made.json()['id']}"
    assert "leads" in scim_gate.call("bob", "GET", "/v1/me").json()["groups"]
    assert scim.get(f"/Users/{bob}").json()["groups"][0]["display"] == "leads"
    issued = scim_gate.call("bob", "POST", "/v1/grants", {"task": "lead-work", "reason": "scim"})
    assert issued.status_code == 201
    assert change(scim, group, {"op": "remove", "path": f'members[value eq "{bob}"]'}).is_success
    assert scim_gate.call("bob", "GET", "/v1/me").status_code == 401, "signed out"
    grants = scim_gate.call("rev", "GET", "/v1/grants?all=true").json()
    assert issued.json()["grant"]["id"] not in [one["id"] for one in grants]
    scim_gate._tokens.pop("bob")
    scim_gate._clients.pop("bob").close()
    assert "leads" not in scim_gate.call("bob", "GET", "/v1/me").json()["groups"]
    assert scim.delete(group).status_code == 204


def test_deactivation_shuts_out_and_only_the_directory_opens_what_it_shut(
    scim_gate: Gate, scim: httpx.Client
) -> None:
    lou = f"/Users/{make(scim, 'lou')}"
    scim_gate.call("lou", "GET", "/v1/me")
    answer = change(scim, lou, {"op": "replace", "value": {"active": False}})
    assert answer.status_code == 200
    left = answer.json()[DEPARTURE]
    assert left["places"][0]["source"] == "127.0.0.1", "where they had signed in from"
    assert scim_gate.call("lou", "GET", "/v1/me").status_code == 401
    body = {"name": "lou", "password": "the password of lou"}
    assert scim_gate.call(None, "POST", "/v1/login", body).status_code == 401
    # A provider repeats itself; leaving the word out is no word either.
    assert change(scim, lou, {"op": "remove", "path": "active"}).is_success
    assert scim_gate.call(None, "POST", "/v1/login", body).status_code == 401
    assert change(scim, lou, {"op": "replace", "path": "active", "value": True}).is_success
    assert scim_gate.call(None, "POST", "/v1/login", body).status_code == 200


def test_what_a_person_shut_the_directory_does_not_open(
    scim_gate: Gate, scim: httpx.Client
) -> None:
    non = make(scim, "non")
    assert scim_gate.call("adm", "POST", "/v1/users/non/disable").status_code == 204
    whole = {"schemas": [USER], "userName": "non", "active": True}
    assert scim.put(f"/Users/{non}", json=whole).is_success
    assert change(scim, f"/Users/{non}", {"op": "replace", "value": {"active": False}}).is_success
    assert change(scim, f"/Users/{non}", {"op": "replace", "value": {"active": True}}).is_success
    body = {"name": "non", "password": "the password of non"}
    assert scim_gate.call(None, "POST", "/v1/login", body).status_code == 401


def test_a_removed_user_is_gone_and_shut_out(scim_gate: Gate, scim: httpx.Client) -> None:
    scim_gate.call("rep", "GET", "/v1/me")
    rep = f"/Users/{make(scim, 'rep')}"
    assert scim.delete(rep).status_code == 204
    assert scim.get(rep).status_code == 404
    assert scim.delete(rep).status_code == 404
    assert scim_gate.call("rep", "GET", "/v1/me").status_code == 401


def test_changes_are_recorded(scim_gate: Gate, scim: httpx.Client) -> None:
    make(scim, "recorded@example.com")
    found = scim_gate.call("aud", "GET", "/v1/audit/search?verb=directory.changed").json()
    assert "recorded@example.com" in [entry["object"] for entry in found["entries"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/Users/.search", {"schemas": 5}),
        ("/Users/.search", {"schemas": True, "filter": 'userName eq "a"'}),
        ("/Groups/.search", {"schemas": [SEARCH], "startIndex": [1]}),
        ("/Users", {"schemas": [USER], "userName": "a\0b"}),
        ("/Users", {"schemas": [USER], "userName": "a\nb"}),
        ("/Users", {"schemas": [USER], "userName": "plain", "externalId": "\u202eb"}),
        ("/Users", {"schemas": [USER], "userName": "\ud800"}),
        ("/Groups", {"schemas": [GROUP], "displayName": "a\0"}),
        ("/Groups", {"schemas": [GROUP], "displayName": "x", "members": [{"value": "no\0body"}]}),
    ],
)  # fmt: skip
def test_hostile_names_and_forms_are_refused_as_bad_requests(
    scim: httpx.Client, path: str, body: dict[str, object]
) -> None:
    answer = scim.post(path, content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/scim+json"


def test_a_patch_of_no_known_form_is_refused(scim: httpx.Client) -> None:
    user = make(scim, "form@example.com")
    for schemas in (5, True, PATCH, None, [[PATCH]]):
        body = {"schemas": schemas, "Operations": [{"op": "add", "path": "title", "value": "x"}]}
        assert scim.patch(f"/Users/{user}", json=body).status_code == 400
    far = {"schemas": [SEARCH], "startIndex": float("inf")}
    assert scim.post("/Users/.search", content=json.dumps(far)).status_code == 400
