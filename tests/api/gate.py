"""A real gateway process with people in every role, for the tests of its API."""

import json
import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import httpx
from argon2 import PasswordHasher

from taskgate.demo.cluster import free_port
from taskgate.gateway.config import load_config
from taskgate.gateway.foundation import open_state
from taskgate.model.account import User
from taskgate.model.approval import Approval
from taskgate.model.decision import ApprovalDemand
from taskgate.model.ids import new_id
from taskgate.policy.load import load_dir
from tests.patience import PATIENCE_S, eventually

ROOT = Path(__file__).parents[2]
PEOPLE: Mapping[str, tuple[str, ...]] = {
    "ann": ("analysts",),
    "bob": ("analysts",),
    "lea": ("leads",),
    "lou": ("leads",),
    "aud": ("audit",),
    "rep": ("replay",),
    "rev": ("revoke",),
    "aut": ("authors",),
    "adm": ("admins",),
    "off": ("offboarders",),
    "non": (),
}
POLICY = """
kind: Resource
name: shop
protocol: postgres
address: 127.0.0.1:1
tls: disable
database: shop
credential: {username: tg, password: {env: SHOP_PASSWORD}}
---
kind: Resource
name: shop-eu
protocol: postgres
address: 127.0.0.1:1
tls: disable
database: shop
credential: {username: tg, password: {env: SHOP_PASSWORD}}
---
kind: Task
name: sales-report
description: Weekly revenue by region, read only
resource: shop
for: {groups: [analysts]}
lasts: {default: 1h, at_most: 4h}
permit:
  - select: [shop.orders]
hold:
  - update: [shop.orders]
    for: {groups: [leads], people: 1, within: 15m}
approvals: {standing: {uses: 5, lasts: 15m}}
---
kind: Task
name: both-shops
resources: [shop, shop-eu]
for: {groups: [analysts]}
permit:
  - select: [shop.orders]
---
kind: Task
name: lead-work
resource: shop
for: {groups: [leads]}
permit:
  - select: [shop.orders]
---
{kind: Role, name: auditors, for: {groups: [audit]}, may: [audit]}
---
{kind: Role, name: watchers, for: {groups: [replay]}, may: [replay]}
---
{kind: Role, name: revokers, for: {groups: [revoke]}, may: [revoke]}
---
{kind: Role, name: writers, for: {groups: [authors]}, may: [author]}
---
{kind: Role, name: leavers, for: {groups: [offboarders]}, may: [offboard]}
---
{kind: Role, name: keepers, for: {groups: [admins]}, may: [administer]}
"""


def password_of(name: str) -> str:
    return f"the password of {name}"


@dataclass(slots=True)
class Gate:
    """The process; each of PEOPLE signs in when first needed."""

    folder: Path
    url: str
    process: "subprocess.Popen[bytes]"
    ca: Path
    _tokens: dict[str, str] = field(default_factory=dict)
    _clients: dict[str | None, httpx.Client] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.folder / "gate.yaml"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def postgres_port(self) -> int:
        """Where PostgreSQL clients connect, as the log of the newest start has it."""

        def start() -> str:
            # A moment after it answers; until then the log tells of the start before.
            *_, newest = self.log.split('"gateway.stopped"')
            lines = [one for one in newest.splitlines(keepends=True) if '"gateway.started"' in one]
            return lines[-1] if lines and lines[-1].endswith("\n") else ""

        return int(json.loads(eventually(start, "it did not start"))["postgres_port"])

    def token(self, who: str) -> str:
        """The API token of one of PEOPLE."""
        if who not in self._tokens:
            body = {"name": who, "password": password_of(who)}
            answer = self.call(None, "POST", "/v1/login", body)
            assert answer.status_code == 200, answer.text
            self._tokens[who] = answer.json()["token"]
        return self._tokens[who]

    def client(self, who: str | None = None) -> httpx.Client:
        """Verifies the gateway's certificate; signed in as `who`, or as nobody."""
        headers = {"Authorization": f"Bearer {self.token(who)}"} if who else {}
        context = ssl.create_default_context(cafile=str(self.ca))
        return httpx.Client(
            base_url=self.url, verify=context, headers=headers, timeout=PATIENCE_S, trust_env=False
        )

    def call(self, who: str | None, method: str, path: str, body: object = None) -> httpx.Response:
        if who not in self._clients:
            self._clients[who] = self.client(who)
        client = self._clients[who]
        return (
            client.request(method, path, json=body)
            if body is not None
            else (client.request(method, path))
        )

    def grant(self, who: str = "ann", task: str = "sales-report") -> str:
        answer = self.call(who, "POST", "/v1/grants", {"task": task, "reason": "a test"})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["grant"]["id"])

    async def held(
        self,
        grant: str,
        text: str = "UPDATE shop.orders SET note = 'x'",
        *,
        who: str = "ann",
        people: int = 1,
        within_s: float = 600.0,
    ) -> str:
        """A held request of a session on another node, as the store has it; its id."""
        async with open_state(load_config(self.config)) as state:
            held_by = await state.store.grants.get(grant)
            assert held_by is not None
            # A gateway's clock never goes back; the machine's may have, by a little.
            now = max(time.time(), held_by.not_before)
            approval = Approval(
                id=new_id("a"),
                grant_id=grant,
                session_id=new_id("s"),
                requester_key=f"local:{who}",
                task="sales-report",
                resource="shop",
                text=text,
                parameters=("1", None),
                digest=os.urandom(32).hex(),
                shape=os.urandom(32).hex(),
                rule="sales-report/hold[0]",
                policy_version=load_dir(self.folder / "policy").version,
                demands=(ApprovalDemand(frozenset({"leads"}), frozenset(), people, within_s),),
                asked_at=now,
                expires_at=now + within_s,
                requester_keys=frozenset({f"local:{who}"}),
            )
            assert await state.store.approvals.add(approval, "another-node")
        return approval.id

    def hang_up(self) -> None:
        """Closes what clients keep open."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.hang_up()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


async def start_gate(
    folder: Path,
    *,
    policy: bool = True,
    people: Mapping[str, tuple[str, ...]] = PEOPLE,
    more: str = "",
    policy_text: str = POLICY,
    limits: Mapping[str, float] | None = None,
    drain_s: float = 2,
) -> Gate:
    """Starts a gateway in `folder`, with `people` in its store, and with other `limits` if any."""
    port = free_port()
    if policy:
        (folder / "policy").mkdir(exist_ok=True)
        (folder / "policy" / "all.yaml").write_text(policy_text)
    config = folder / "gate.yaml"
    config.write_text(
        f"state_dir: state\napi: {{port: {port}}}\npostgres: {{port: 0}}\n"
        f"ssh: {{port: 0}}\ndrain_s: {drain_s}\n" + ("policy: policy\n" if policy else "") + more
    )
    async with open_state(load_config(config)) as state:
        there = {user.name for user in await state.store.users.list()}
        for name, groups in people.items():
            if name not in there:
                user = User(name, _hash_of(name), frozenset(groups), time.time())
                await state.store.users.add(user)
    gate = Gate(
        folder, f"https://localhost:{port}", launch(folder, limits), folder / "state/tls/ca.pem"
    )
    try:
        wait_ready(gate)
    except BaseException:
        gate.stop(signal.SIGKILL)
        raise
    return gate


@cache
def _hash_of(name: str) -> str:
    # Once a run: a hash is meant to be slow.
    return PasswordHasher().hash(password_of(name))


def launch(folder: Path, limits: Mapping[str, float] | None = None) -> "subprocess.Popen[bytes]":
    module = "tests.faults.launch" if limits else "taskgate.cli.main"
    faults = {"FAULTS": json.dumps({"limits": dict(limits)})} if limits else {}
    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", module, "serve", "--config", "gate.yaml"],
            cwd=folder,
            env={**os.environ, **faults, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            stdout=log,
            stderr=log,
        )


def wait_ready(gate: Gate, timeout_s: float = 100.0) -> None:
    """Until it answers at all, ready or not."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        assert gate.process.poll() is None, gate.log
        try:
            if gate.ca.exists() and gate.call(None, "GET", "/healthz").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not up after {timeout_s} s:\n{gate.log}")
