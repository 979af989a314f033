"""Somebody leaves in the middle of things; and narrower grants, for steps and for agents."""

import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import errors

from taskgate.demo.gate import GateFault, Person
from taskgate.identity.scim.schemas import DEPARTURE, USER
from tests.end_to_end.conftest import Setting
from tests.gates import running_gate
from tests.patience import PATIENCE_S, eventually, within
from tests.servers import Server, Servers

SECRET = "a-provider-s-secret-of-40-characters-....."
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
ORDERS = "SELECT count(*) FROM shop.orders"
PRODUCTS = "SELECT count(*) FROM shop.products"
UPDATE = "UPDATE shop.orders SET status = 'cancelled' WHERE id = 21"
TASKS = """
kind: Task
name: work
resource: target
for: {groups: [analysts], kinds: [human, agent]}
permit:
  - select: [shop.orders, shop.products]
hold:
  - update: ["shop.orders(status)"]
hold_for: {groups: [leads], people: 1, within: 1m}
hold_agents: true
---
kind: Task
name: by-hand
resource: target
for: {groups: [analysts], kinds: [human]}
permit:
  - select: [shop.orders]
---
{kind: Role, name: auditors, for: {groups: [auditors]}, may: [audit, replay]}
---
{kind: Role, name: leavers, for: {groups: [leavers]}, may: [offboard]}
"""
ANN = Person("ann", "leaves", ("analysts",))
PEOPLE = (
    ANN,
    Person("ben", "stays", ("analysts",)),
    Person("cid", "is offboarded by hand", ("analysts",)),
    Person("lead", "approves", ("leads",)),
    Person("auditor", "reads records", ("auditors",)),
    Person("hr", "offboards", ("leavers",)),
)


@pytest.fixture(scope="module")
def place(pg18: Server, servers: Servers) -> Iterator[Setting]:
    database = pg18.new_database("leaving", template=servers.shop(pg18))
    with running_gate(
        pg18, database, TASKS, people=PEOPLE, secrets={"SCIM_TOKEN": SECRET},
        more={"scim": {"token": {"env": "SCIM_TOKEN"}}},
    ) as gate:  # fmt: skip
        yield Setting(gate, pg18, database)
    pg18.drop_database(database)


def scim(place: Setting, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"{place.gate.own.url}/scim/v2{path}", method=method, data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {SECRET}", "Content-Type": "application/scim+json"},
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(place.gate.own.ca_file))
    with urllib.request.urlopen(request, timeout=PATIENCE_S, context=context) as answer:
        return dict(json.loads(answer.read()))


def grant_of(place: Setting, who: str, task: str = "work") -> dict[str, Any]:
    asked = {"task": task, "reason": "a test"}
    return dict(place.gate.own.ask(who, "POST", "/v1/grants", asked))


def derive(place: Setting, who: str, grant: str, **body: Any) -> dict[str, Any]:
    return dict(place.gate.own.ask(who, "POST", f"/v1/grants/{grant}/derive", body))


def waiting(place: Setting, text: str) -> Any:
    def look() -> Any:
        return [one for one in place.gate.own.ask("lead", "GET", "/v1/approvals")
                if text in one["text"]]  # fmt: skip

    return eventually(look)[0]


def facts_of(place: Setting, session: str) -> list[dict[str, Any]]:
    page = place.gate.own.ask("auditor", "GET", f"/v1/recordings/{session}")
    return [{"kind": one["kind"], **one["facts"]} for one in page["events"]]


def session_of(place: Setting, grant: str) -> str:
    found = place.gate.own.ask("auditor", "GET", "/v1/sessions?all=true")
    return str(next(one["id"] for one in found if one["grant_id"] == grant))


def test_disabling_by_scim_cuts_psql_and_a_hold_within_a_second_and_says_where_else(
    place: Setting,
) -> None:
    user = scim(place, "POST", "/Users", {"schemas": [USER], "userName": "ann"})["id"]
    last: dict[str, Any] = {}

    def activate(active: bool) -> dict[str, Any]:
        operation = {"op": "replace", "value": {"active": active}}
        body = {"schemas": [PATCH], "Operations": [operation]}
        return scim(place, "PATCH", f"/Users/{user}", body)

    def hold(token: str) -> tuple[Exception, float]:
        with place.connect("work", token) as connection:
            try:
                connection.execute(UPDATE)
            except psycopg.Error as error:
                return error, time.monotonic()
        raise AssertionError("it ran")

    def cut() -> float:
        activate(True)
        place.gate.own.sign_in(ANN)
        issued = grant_of(place, "ann")
        token = issued["token"]
        agent = derive(place, "ann", issued["grant"]["id"], agent="helper", step="look")
        with (
            subprocess.Popen(
                [place.server.bin / "psql", *place.arguments("work")], text=True, bufsize=1,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                env={**os.environ, **place.environment(token), "PGAPPNAME": "nightly"},
            ) as psql,
            ThreadPoolExecutor(1) as pool,
            place.connect("work", agent["token"]) as of_agent,
        ):  # fmt: skip
            assert psql.stdin is not None
            assert psql.stdout is not None
            psql.stdin.write(ORDERS + ";\n")
            assert psql.stdout.readline().strip().isdigit()
            held = pool.submit(hold, token)
            last["asked"] = waiting(place, "id = 21")
            began = time.monotonic()
            last["left"] = activate(False)[DEPARTURE]
            answered = time.monotonic()
            error, ended = held.result(PATIENCE_S)
            with pytest.raises(psycopg.Error, match="directory"):
                of_agent.execute("SELECT 1")
            assert "directory" in str(error)
            # psql hears of it when it next asks; the gate had hung up before it answered the
            # provider.
            psql.stdin.write(ORDERS + ";\n")
            said, _ = psql.communicate(timeout=PATIENCE_S)
            assert "deactivated by the directory" in said
        last["token"] = token
        return max(answered, ended) - began

    within(1.0, cut)
    assert place.behind("SELECT status FROM shop.orders WHERE id = 21") != "cancelled"

    left = last["left"]
    assert left["sessionsCut"] == 3
    assert left["grantsRevoked"] == 2
    assert {("127.0.0.1", "nightly"), ("127.0.0.1", "api")} <= {
        (one["source"], one["application"]) for one in left["places"]
    }
    assert f"127.0.0.1:{place.server.port}" in {one.get("host") for one in left["places"]}
    with pytest.raises(GateFault, match="cancelled"):
        place.gate.own.ask("lead", "POST", f"/v1/approvals/{last['asked']['id']}/approve", {})
    with pytest.raises(GateFault):
        grant_of(place, "ann")
    with pytest.raises(psycopg.Error):
        place.connect("work", last["token"])


def test_offboarding_by_hand_prints_the_map(place: Setting) -> None:
    issued = grant_of(place, "cid")
    with place.connect("work", issued["token"]) as connection:
        for _ in range(3):
            connection.execute(ORDERS)
        shown = place.gate.own.command("auditor", "where-used", "cid", "--json")
        assert shown.returncode == 0, shown.stderr
        by_way = {one["way"]: one for one in json.loads(shown.stdout)["places"]}
        assert (by_way["postgres"]["live"], by_way["postgres"]["requests"]) == (1, 3)
        done = place.gate.own.command("hr", "offboard", "cid", "--why", "left for a competitor")
        assert done.returncode == 0, done.stderr
        with pytest.raises(psycopg.Error, match="competitor"):
            connection.execute(ORDERS)
    assert "1 sessions cut" in done.stdout
    assert "127.0.0.1" in done.stdout
    assert "local user cid disabled" in done.stdout
    by_grant = place.gate.own.command("auditor", "where-used", issued["grant"]["id"], "--json")
    assert json.loads(by_grant.stdout)["places"][0]["task"] == "work"
    asked = place.gate.own.command("auditor", "where-used", issued["token"])
    assert asked.returncode == 2, "a token is no argument"
    piped = place.gate.own.command("auditor", "where-used", "-", text_in=issued["token"] + "\n")
    assert "127.0.0.1" in piped.stdout
    assert place.gate.own.command("ben", "offboard", "lead").returncode == 4
    for output in ([], ["--json"]):
        tidy = place.gate.own.command("hr", "hygiene", *output)
        assert tidy.returncode == 0, tidy.stderr
        assert "by-hand" in tidy.stdout


def test_a_narrower_grant_is_refused_what_its_parent_may(place: Setting) -> None:
    root = grant_of(place, "ben")
    made = place.gate.own.command(
        "ben", "token", "derive", root["grant"]["id"], "--permit", "select: [shop.orders]",
        "--for", "5m", "--step", "count orders", "--json",
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    child = json.loads(made.stdout)
    with place.connect("work", root["token"]) as connection:
        # The parent's verdicts are remembered by text; the child must not get them.
        connection.execute(PRODUCTS)
        connection.execute(ORDERS)
    with place.connect("work", child["token"]) as connection:
        assert connection.execute(ORDERS).fetchone()
        with pytest.raises(errors.InsufficientPrivilege, match="narrowed"):
            connection.execute(PRODUCTS)
        connection.execute("BEGIN")
        connection.execute("ROLLBACK")
    with place.connect("work", root["token"]) as connection:
        connection.execute(PRODUCTS)
    session = session_of(place, child["grant"]["id"])
    chain = [{"grant": root["grant"]["id"], "identity": "local:ben", "step": ""}]
    wanted = {"session.opened", "request.permitted", "request.denied", "session.closed"}
    eventually(
        lambda: (
            wanted <= {one["kind"] for one in facts_of(place, session) if one.get("chain") == chain}
        )
    )
    found = facts_of(place, session)
    assert {one["step"] for one in found if "step" in one} == {"count orders"}


def test_uses_are_counted_at_every_level(place: Setting) -> None:
    root = grant_of(place, "ben")
    twice = derive(place, "ben", root["grant"]["id"], uses=2)
    below = [derive(place, "ben", twice["grant"]["id"], uses=1) for _ in range(3)]
    outcomes = []
    for one in (below[0], below[0], below[1], below[2], twice):
        try:
            place.connect("work", one["token"]).close()
            outcomes.append("in")
        except psycopg.Error as error:
            outcomes.append("out" if "uses" in str(error) else str(error))
    assert outcomes == ["in", "out", "in", "out", "out"]
    place.connect("work", root["token"]).close()


def test_two_who_race_for_the_last_use_are_one(place: Setting) -> None:
    root = grant_of(place, "ben")
    once = derive(place, "ben", root["grant"]["id"], uses=1)["token"]
    start = threading.Barrier(6)

    def try_it(_number: int) -> bool:
        start.wait()
        try:
            place.connect("work", once).close()
        except psycopg.Error:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(try_it, range(6))) == 1


def test_revoking_the_parent_cuts_the_childs_session(place: Setting) -> None:
    root = grant_of(place, "ben")
    child = derive(place, "ben", root["grant"]["id"])
    with place.connect("work", child["token"]) as connection:
        connection.execute(ORDERS)
        place.gate.own.ask("ben", "DELETE", f"/v1/grants/{root['grant']['id']}")
        with pytest.raises(psycopg.Error, match="revoked"):
            connection.execute(ORDERS)


def test_an_agent_is_held_for_what_its_person_may_do(place: Setting) -> None:
    root = grant_of(place, "ben")
    agent = derive(place, "ben", root["grant"]["id"], agent="helper", step="look")
    assert agent["grant"]["who"] == "agent:helper@local:ben"
    with place.connect("work", root["token"]) as connection:
        assert connection.execute(PRODUCTS).fetchone()
    with (
        place.connect("work", agent["token"]) as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(lambda: connection.execute(PRODUCTS).fetchone())
        asked = waiting(place, "shop.products")
        assert asked["who"] == "agent:helper@local:ben"
        place.gate.own.ask("lead", "POST", f"/v1/approvals/{asked['id']}/approve", {})
        assert answer.result(PATIENCE_S)
    found = facts_of(place, session_of(place, agent["grant"]["id"]))
    of_session = [one for one in found if not one["kind"].startswith("recording.")]
    assert {(one["identity"], tuple(one["acts_for"])) for one in of_session} == {
        ("agent:helper@local:ben", ("local:ben",))
    }


def test_a_task_can_refuse_agents(place: Setting) -> None:
    root = grant_of(place, "ben", "by-hand")
    with pytest.raises(GateFault, match="not for a"):
        derive(place, "ben", root["grant"]["id"], agent="helper")


def test_who_derives_is_who_is_recorded(place: Setting) -> None:
    """A person derives from the grant of an agent of theirs: the agent did not."""
    root = grant_of(place, "ben")
    agent = derive(place, "ben", root["grant"]["id"], agent="helper")
    by_hand = derive(place, "ben", agent["grant"]["id"], step="by hand")
    found = place.gate.own.ask("auditor", "GET", "/v1/audit/search?verb=grant.derived")
    who = {one["object"]: one["who"] for one in found["entries"]}
    assert who[by_hand["grant"]["id"]] == "local:ben"
    assert by_hand["grant"]["who"] == "agent:helper@local:ben"
