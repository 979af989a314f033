"""A person of a real provider is deactivated by SCIM: every way in that its tokens are ends."""

import json
import time
from collections.abc import Iterator

import psycopg
import pytest

from taskgate.demo.gate import Person
from taskgate.identity.scim.schemas import DEPARTURE, USER
from tests.end_to_end.conftest import Setting
from tests.end_to_end.outside import Outside
from tests.end_to_end.test_leaving import PATCH, SECRET, scim
from tests.gates import running_gate
from tests.identity.oidc.issuing import issuing, rsa_key
from tests.oidc_provider.running import CLIENT_SECRET, real_provider
from tests.patience import within
from tests.servers import Server, Servers

ORDERS = "SELECT count(*) FROM shop.orders"
PEOPLE = (
    Person("auditor", "reads records", ("auditors",)),
    Person("hr", "offboards", ("leavers",)),
    Person("lead", "approves", ("leads",)),
)
TASKS = """
kind: Task
name: report
resource: target
for: {groups: [corp/analysts], kinds: [human, agent]}
direct: true
permit: [{select: [shop.orders]}]
---
{kind: Role, name: auditors, for: {groups: [auditors]}, may: [audit, replay]}
---
{kind: Role, name: leavers, for: {groups: [leavers]}, may: [offboard]}
"""


@pytest.fixture(scope="module")
def outside(pg18: Server, servers: Servers) -> Iterator[Outside]:
    database = pg18.new_database("left", template=servers.shop(pg18))
    with real_provider() as provider, issuing(rsa_key()) as platform:
        oidc = {
            "name": "corp", "issuer": provider.issuer, "client_id": "taskgate",
            "client_secret": {"env": "CORP_SECRET"}, "scopes": ["openid", "offline_access"],
            "prompt": "consent", "direct": {"id_tokens": True},
        }  # fmt: skip
        with running_gate(
            pg18, database, TASKS, people=PEOPLE,
            more={"oidc": [oidc], "scim": {"token": {"env": "SCIM_TOKEN"}, "issuer": "corp"}},
            secrets={"CORP_SECRET": CLIENT_SECRET, "SCIM_TOKEN": SECRET},
        ) as gate:  # fmt: skip
            yield Outside(Setting(gate, pg18, database), provider, platform)
    pg18.drop_database(database)


def activate(outside: Outside, user: str, active: bool) -> dict[str, object]:
    operation = {"op": "replace", "path": "active", "value": active}
    body = {"schemas": [PATCH], "Operations": [operation]}
    return scim(outside.setting, "PATCH", f"/Users/{user}", body)


def ways_in(outside: Outside, token: str) -> list[str]:
    """Which of all ways in are open to somebody who kept everything they ever had."""
    found = []
    if outside.setting.psql("report", ORDERS, token=token).returncode == 0:
        found.append("the provider's token, as psql's password")
    with outside.api(token) as api:
        if api.get("/v1/me").status_code == 200:
            found.append("the same as the API's bearer")
        asked = {"task": "report", "reason": "again"}
        if api.post("/v1/grants", json=asked).status_code == 201:
            found.append("and for a grant")
    profile = outside.setting.gate.own.profiles / "ann.json"
    kept = json.loads(profile.read_text())
    with outside.api(kept["token"]) as api:
        if api.get("/v1/me").status_code == 200:
            found.append("an API sign-in")
    with outside.api() as api:
        answer = api.post("/v1/oidc/refresh", json={"refresh": kept["refresh"]})
        if answer.status_code == 200:
            found.append("a sealed refresh token")
    if outside.cli("ann", "login", "--oidc", "corp").returncode == 0:
        found.append("signing in anew")
    else:
        profile.write_text(json.dumps(kept))
    fresh = outside.provider.tokens("ann")["id_token"]
    if outside.setting.psql("report", ORDERS, token=fresh).returncode == 0:
        found.append("a fresh token of the provider's")
    return found


def granted(outside: Outside, bearer: str) -> tuple[str, str]:
    """The tokens of a fresh grant, and of one below it for an agent."""
    with outside.api(bearer) as api:
        of_person = api.post("/v1/grants", json={"task": "report", "reason": "a look"}).json()
        grant = of_person["grant"]["id"]
        child = api.post(f"/v1/grants/{grant}/derive", json={"agent": "helper"}).json()
    return str(of_person["token"]), str(child["token"])


def test_deactivating_a_providers_person_ends_every_way_in(outside: Outside) -> None:
    """The provider spells the name otherwise by SCIM than in its tokens."""
    assert outside.cli("ann", "login", "--oidc", "corp").returncode == 0
    token = outside.provider.tokens("ann")["id_token"]
    made = scim(outside.setting, "POST", "/Users", {"schemas": [USER], "userName": "Ann"})
    user = str(made["id"])
    given = [(token, granted(outside, token)[1])]
    lefts = []

    def cut() -> float:
        if not given:
            activate(outside, user, True)
            assert outside.cli("ann", "login", "--oidc", "corp").returncode == 0
            kept = json.loads((outside.setting.gate.own.profiles / "ann.json").read_text())
            given.append(granted(outside, kept["token"]))
        own, agents = given.pop()
        with (
            outside.setting.connect("report", own) as direct,
            outside.setting.connect("report", agents) as of_agent,
        ):
            began = time.monotonic()
            lefts.append(activate(outside, user, False)[DEPARTURE])
            took_s = time.monotonic() - began
            for connection in (direct, of_agent):
                with pytest.raises(psycopg.Error, match="directory"):
                    connection.execute(ORDERS)
        return took_s

    assert "the provider's token, as psql's password" in ways_in(outside, token)
    within(1.0, cut)
    for left in lefts:
        assert isinstance(left, dict)
        assert left["sessionsCut"] == 2
        assert {"psql", "api"} <= {one.get("application") for one in left["places"]}
    assert ways_in(outside, token) == []
    # Who offboards has the last word, whatever the provider says later.
    done = outside.setting.gate.own.command("hr", "offboard", "corp:ann", "--why", "left")
    assert done.returncode == 0, done.stderr
    activate(outside, user, True)
    assert ways_in(outside, token) == []
    done = outside.setting.gate.own.command("hr", "reinstate", "corp:ANN", "--why", "back")
    assert done.returncode == 0, done.stderr
    # A fresh token of the provider's own counts once its clock cannot be what is ahead.
    assert ways_in(outside, token) == ["signing in anew"]
