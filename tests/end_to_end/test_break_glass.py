"""An emergency: a task taken up by somebody who is no member, while it is closed."""

import hashlib
import hmac
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import psycopg
import pytest
from psycopg import errors

from taskgate.demo.gate import GateFault, Person
from taskgate.model import limits
from tests.end_to_end.conftest import Setting
from tests.gates import running_gate
from tests.patience import eventually
from tests.servers import Server, Servers

SECRET = "what signs the alerts of this test"
# The one minute of the year in which nobody runs tests.
CLOSED = "Sun 03:00-03:01 UTC"
ORDERS = "SELECT count(*) FROM shop.orders"
TASKS = f"""
kind: Task
name: repair
resource: target
for: {{groups: [operators]}}
hours: "{CLOSED}"
permit:
  - select: [shop.orders]
break_glass:
  for: {{groups: [on-call]}}
  lasts: 30m
  review: {{for: {{groups: [security]}}, within: 24h}}
---
kind: Task
name: wages
resource: target
for: {{groups: [operators]}}
permit:
  - select: [shop.orders]
break_glass:
  for: {{groups: [on-call]}}
  second_person: {{groups: [leads, on-call], within: 1m}}
  review: {{for: {{groups: [security, on-call]}}, within: 1s}}
---
kind: Task
name: plain
resource: target
for: {{groups: [operators]}}
permit:
  - select: [shop.orders]
---
{{kind: Role, name: auditors, for: {{groups: [auditors]}}, may: [audit, replay]}}
---
{{kind: Role, name: revokers, for: {{groups: [security]}}, may: [revoke]}}
---
{{kind: Role, name: keepers, for: {{groups: [admins]}}, may: [administer]}}
"""
PEOPLE = (
    Person("oncall", "has the pager", ("on-call",)),
    Person("pair", "has it next week", ("on-call",)),
    Person("eager", "asks again and again", ("on-call",)),
    Person("lead", "agrees", ("leads",)),
    Person("sec", "reviews", ("security",)),
    Person("aud", "reads records", ("auditors",)),
    Person("ops", "a member", ("operators",)),
    Person("boss", "keeps users", ("admins",)),
)


@dataclass(slots=True)
class Receiver:
    """An address that alerts are sent to."""

    port: int = 0
    got: list[dict[str, Any]] = field(default_factory=list)
    unsigned: int = 0


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            mac = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            if self.headers["X-Taskgate-Signature"] == f"sha256={mac}":
                kept.got.append(json.loads(body))
            else:
                kept.unsigned += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    kept.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def place(pg18: Server, servers: Servers, receiver: Receiver) -> Iterator[Setting]:
    database = pg18.new_database("emergency", template=servers.shop(pg18))
    hook = {"url": f"http://127.0.0.1:{receiver.port}/alerts", "secret": {"env": "HOOK_SECRET"}}
    with running_gate(
        pg18, database, TASKS, people=PEOPLE, secrets={"HOOK_SECRET": SECRET},
        more={"alerts": {"webhook": hook}},
    ) as gate:  # fmt: skip
        yield Setting(gate, pg18, database)
    pg18.drop_database(database)


def ask(place: Setting, who: str, path: str, body: object = None, method: str = "") -> Any:
    return place.gate.own.ask(who, method or ("GET" if body is None else "POST"), path, body)


def refused(place: Setting, who: str, path: str, body: object) -> dict[str, Any]:
    with pytest.raises(GateFault) as caught:
        ask(place, who, path, body)
    return dict(json.loads(str(caught.value)))


def break_glass(place: Setting, who: str, task: str, why: str = "the shop is down") -> Any:
    return ask(place, who, "/v1/break-glass", {"task": task, "reason": why})


def alerts(place: Setting, who: str, subject: str) -> list[str]:
    return [one["kind"] for one in ask(place, who, "/v1/alerts") if one["subject"] == subject]


def test_whoever_is_named_gets_in_loudly_and_stays_under_review(
    place: Setting, receiver: Receiver
) -> None:
    # Neither a member nor within the hours: the usual way is shut, to members too.
    assert "no task repair" in refused(
        place, "oncall", "/v1/grants", {"task": "repair", "reason": "x"}
    )["detail"]  # fmt: skip
    assert (
        "is open"
        in refused(place, "ops", "/v1/grants", {"task": "repair", "reason": "x"})["detail"]
    )
    done = break_glass(place, "oncall", "repair")
    one = done["request"]
    assert (one["state"], one["review_open"], one["mine"]) == ("used", True, True)
    with place.connect("repair", done["issued"]["token"]) as connection:
        assert connection.execute(ORDERS).fetchone() is not None
        # Its rules count as ever.
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute("DELETE FROM shop.orders")
    for who in ("aud", "sec", "boss", "oncall"):
        assert alerts(place, who, one["id"]) == ["break_glass.used"], who
    assert alerts(place, "ops", one["id"]) == []
    eventually(lambda: any(got["subject"] == one["id"] for got in receiver.got))
    assert receiver.unsigned == 0
    log = place.gate.own.log
    assert any(
        json.loads(line)["level"] == "critical" and json.loads(line)["subject"] == one["id"]
        for line in log.read_text().splitlines()
        if '"alert"' in line and line.endswith("}")
    )
    found = ask(place, "aud", "/v1/audit/search?task=repair&limit=1000")["entries"]
    told = {row["event"] for row in found}
    assert {"break_glass.asked", "break_glass.used", "session.opened"} <= told
    session = next(row["session"] for row in found if row["event"] == "session.opened")
    opened = ask(place, "aud", f"/v1/recordings/{session}")["events"][0]
    assert opened["facts"]["break_glass"] == one["id"]
    assert opened["facts"]["reason"] == "the shop is down"
    # Open until somebody closes it, who is not the one whom it is about.
    assert "nobody approves what they requested" in refused(
        place, "oncall", f"/v1/reviews/{one['id']}", {"note": "all fine, trust me"}
    )["detail"]  # fmt: skip
    assert refused(place, "ops", f"/v1/reviews/{one['id']}", {"note": "x"})["status"] == 404
    assert refused(place, "aud", f"/v1/reviews/{one['id']}", {"note": "x"})["status"] == 403
    assert refused(place, "sec", f"/v1/reviews/{one['id']}", {"note": " "})["status"] == 422
    closed = ask(place, "sec", f"/v1/reviews/{one['id']}", {"note": "one read; ticket OPS-7"})
    assert (closed["review_open"], closed["reviewed_by"]) == (False, "local:sec")
    assert refused(place, "sec", f"/v1/reviews/{one['id']}", {"note": "again"})["status"] == 409
    events = ask(place, "aud", "/v1/audit/search?task=repair&limit=1000")["entries"]
    assert "break_glass.reviewed" in {row["event"] for row in events}


@pytest.mark.cap("MAX_BREAK_GLASS_PER_PERSON")
def test_one_person_has_so_many_requests_open_and_no_more(place: Setting) -> None:
    for _ in range(limits.MAX_BREAK_GLASS_PER_PERSON):
        assert break_glass(place, "eager", "wages")["request"]["state"] == "waiting"
    more = refused(place, "eager", "/v1/break-glass", {"task": "wages", "reason": "once more"})
    assert more["status"] == 409
    assert "open already" in more["detail"]
    assert break_glass(place, "pair", "wages")["request"]["state"] == "waiting"


def test_a_grant_by_break_glass_ends_when_it_is_revoked(place: Setting) -> None:
    done = break_glass(place, "oncall", "repair")
    grant = done["issued"]["grant"]["id"]
    with place.connect("repair", done["issued"]["token"]) as connection:
        ask(place, "sec", f"/v1/grants/{grant}/revoke", {"why": "false alarm"})
        with pytest.raises(psycopg.Error):
            connection.execute(ORDERS)
    with pytest.raises(psycopg.OperationalError):
        place.connect("repair", done["issued"]["token"])
    # What was done is reviewed though it is over.
    assert done["request"]["id"] in {one["id"] for one in ask(place, "sec", "/v1/reviews")}


def test_nobody_else_may_and_nobody_learns_which_tasks_have_it(place: Setting) -> None:
    told = {
        refused(place, "ops", "/v1/break-glass", {"task": task, "reason": "x"})["detail"].replace(
            task, "TASK"
        )
        for task in ("repair", "wages", "plain", "no-such-task")
    }
    assert len(told) == 1
    long = {"task": "repair", "reason": "x", "lasts_s": 1801}
    assert refused(place, "oncall", "/v1/break-glass", long)["rule"] == "repair/break_glass"
    empty = {"task": "repair", "reason": "  "}
    assert refused(place, "oncall", "/v1/break-glass", empty)["status"] == 422


def test_nothing_is_derived_from_it(place: Setting) -> None:
    grant = break_glass(place, "oncall", "repair")["issued"]["grant"]["id"]
    problem = refused(place, "oncall", f"/v1/grants/{grant}/derive", {"agent": "helper"})
    assert problem["rule"] == "repair/break_glass"


def test_a_second_person_must_agree_and_it_is_collected_once(place: Setting) -> None:
    asked = break_glass(place, "oncall", "wages")
    one = asked["request"]["id"]
    assert (asked["issued"], asked["request"]["state"]) == (None, "waiting")
    assert alerts(place, "lead", one) == ["break_glass.asked"]
    # Waiting buys nothing.
    still = ask(place, "oncall", f"/v1/break-glass/{one}/collect", {})
    assert (still["issued"], still["request"]["state"]) == (None, "waiting")
    # The asker is in a group that may agree, and is no second person.
    own = refused(place, "oncall", f"/v1/break-glass/{one}/approve", {"reason": ""})
    assert "nobody approves what they requested" in own["detail"]
    assert refused(place, "ops", f"/v1/break-glass/{one}/approve", {})["status"] == 404
    after = ask(place, "lead", f"/v1/break-glass/{one}/approve", {"reason": "go"})
    assert after["state"] == "ready"
    # Whoever agreed does not get the grant.
    assert refused(place, "lead", f"/v1/break-glass/{one}/collect", {})["status"] == 404
    got = ask(place, "oncall", f"/v1/break-glass/{one}/collect", {})
    with place.connect("wages", got["issued"]["token"]) as connection:
        assert connection.execute(ORDERS).fetchone() is not None
    assert refused(place, "oncall", f"/v1/break-glass/{one}/collect", {})["status"] == 409


def test_a_refusal_ends_it(place: Setting) -> None:
    one = break_glass(place, "oncall", "wages")["request"]["id"]
    assert refused(place, "pair", f"/v1/break-glass/{one}/deny", {})["status"] == 422
    ask(place, "pair", f"/v1/break-glass/{one}/deny", {"reason": "not at night"})
    assert refused(place, "lead", f"/v1/break-glass/{one}/approve", {})["status"] == 409
    assert refused(place, "oncall", f"/v1/break-glass/{one}/collect", {})["status"] == 409


def test_an_overdue_review_is_told_in_every_place(place: Setting, receiver: Receiver) -> None:
    one = break_glass(place, "oncall", "wages")["request"]["id"]
    ask(place, "lead", f"/v1/break-glass/{one}/approve", {})
    ask(place, "oncall", f"/v1/break-glass/{one}/collect", {})
    eventually(lambda: "review.overdue" in alerts(place, "aud", one))
    overdue = ask(place, "aud", "/v1/hygiene")["overdue_reviews"]
    assert one in {found["id"] for found in overdue}
    eventually(lambda: ("review.overdue", one) in {(g["kind"], g["subject"]) for g in receiver.got})
    command = place.gate.own.command
    said = command("aud", "hygiene").stdout
    assert one in said
    listed = command("sec", "reviews").stdout
    assert "OVERDUE" in listed
    # Once, however often it is looked at.
    time.sleep(6)
    assert alerts(place, "aud", one).count("review.overdue") == 1
    done = command("pair", "review", one, "--note", "it was right")
    assert done.returncode == 0, done.stderr
    assert one not in {found["id"] for found in ask(place, "aud", "/v1/hygiene")["overdue_reviews"]}


def test_the_command_waits_for_the_second_person(place: Setting) -> None:
    own = place.gate.own

    def asked() -> list[str]:
        return [
            one["id"]
            for one in ask(place, "lead", "/v1/reviews")
            if one["may_decide"] and one["reason"] == "payroll is stuck"
        ]

    with subprocess.Popen(
        [*own.program, "break-glass", "wages", "--reason", "payroll is stuck"],
        env=own.surroundings("oncall"), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as waiting:  # fmt: skip
        try:
            agreed = own.command("lead", "approve", eventually(asked)[0])
            assert agreed.returncode == 0, agreed.stderr
            said, told = waiting.communicate(timeout=60)
        finally:
            waiting.kill()
    assert waiting.returncode == 0, told
    assert "waiting for 1 of group leads, group on-call" in told
    assert said.startswith("grant g-")
    assert "others have been alerted" in told
    assert "break_glass.used" in own.command("aud", "alerts").stdout
