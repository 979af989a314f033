"""A whole gate behind a real provider and a mimicked CI platform, for tests of who comes in."""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from taskgate.demo.gate import Person
from tests.end_to_end.conftest import Setting
from tests.gates import running_gate
from tests.identity.oidc.issuing import Issuing, issuing, rsa_key
from tests.oidc_provider.running import CLIENT_SECRET, RealProvider, real_provider
from tests.patience import PATIENCE_S
from tests.recorded import recorded_text
from tests.servers import Server, Servers

ROOT = Path(__file__).parents[2]
AUDITOR = Person("auditor", "reads records", ("auditors",))
# A client that takes everything from the environment, and brings TLS of its own.
QUERY = (
    sys.executable, "-c",
    "import psycopg, sys; print(psycopg.connect().execute(sys.argv[1]).fetchone()[0])",
)  # fmt: skip
TASKS = """
kind: Task
name: report
resource: target
for: {groups: [corp/analysts]}
direct: true
permit: [{select: [shop.orders]}]
---
kind: Task
name: stated
resource: target
for: {groups: [corp/analysts]}
permit: [{select: [shop.orders]}]
---
kind: Task
name: payroll
resource: target
for: {groups: [corp/analysts]}
sign_in: {mfa: true, within: 15m}
direct: true
permit: [{select: [shop.orders]}]
---
kind: Task
name: export
resource: target
permit: [{select: [shop.orders]}]
---
kind: Trust
name: nightly
platform: github-actions
issuer: ISSUER
audience: https://gate.example.com
claims: {repository: acme/shop, ref: refs/heads/main, environment: production}
tasks: export
lasts: 5m
---
kind: Role
name: auditors
for: {groups: [auditors]}
may: [audit, replay]
"""


@dataclass(frozen=True, slots=True)
class Outside:
    """A gate behind a real provider and a mimicked CI platform."""

    setting: Setting
    provider: RealProvider
    platform: Issuing

    @property
    def url(self) -> str:
        return self.setting.gate.own.url

    def api(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        trusting = ssl.create_default_context(cafile=str(self.setting.gate.own.ca_file))
        return httpx.Client(
            base_url=self.url, verify=trusting, headers=headers, trust_env=False,
            timeout=PATIENCE_S,
        )  # fmt: skip

    def cli(
        self, who: str, *arguments: str, more: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        own = self.setting.gate.own
        environment = own.surroundings(who) | {
            "TASKGATE_SERVER": own.url,
            "TASKGATE_CA": str(own.ca_file),
            "PYTHONPATH": str(ROOT),
            "BROWSER": str(self.browser_of(who)),
        }
        return subprocess.run(
            [*own.program, *arguments], capture_output=True, text=True, check=False,
            timeout=90, env=environment | dict(more or {}),
        )  # fmt: skip

    def browser_of(self, who: str) -> Path:
        """A program that browses as that person. BROWSER takes no colons, so it is a file."""
        path = self.setting.gate.own.directory / f"browser-{who}"
        path.write_text(
            f"#!/bin/sh\nexec {sys.executable} -m tests.oidc_provider.browser {who}"
            f' {self.provider.issuer} "$1"\n'
        )
        path.chmod(0o700)
        return path

    def job(self, **changed: Any) -> str:
        """The token of a run, with GitHub Actions' claims."""
        claims: dict[str, Any] = {
            "aud": "https://gate.example.com", "sub": "repo:acme/shop:environment:production",
            "jti": os.urandom(8).hex(), "repository": "acme/shop", "ref": "refs/heads/main",
            "environment": "production", "workflow": "nightly", "run_id": "4242", "groups": None,
            "actor": "ann", "event_name": "schedule", "repository_owner": "acme", "sha": "9f3c",
            "runner_environment": "github-hosted", "run_attempt": "1", "ref_type": "branch",
        }  # fmt: skip
        return self.platform.token(**(claims | changed))

    def events(self) -> str:
        return recorded_text(self.setting.gate.own.recordings)

    def live_grants(self) -> list[dict[str, Any]]:
        found = self.setting.gate.own.ask("auditor", "GET", "/v1/grants?all=true")
        return [one for one in found if one["who"].startswith("trust/")]


@contextmanager
def standing_outside(pg18: Server, servers: Servers) -> Iterator[Outside]:
    """A gate, ready."""
    database = pg18.new_database("outside", template=servers.shop(pg18))
    with real_provider() as provider, issuing(rsa_key()) as platform:
        oidc = {
            "name": "corp", "issuer": provider.issuer, "client_id": "taskgate",
            "client_secret": {"env": "CORP_SECRET"}, "scopes": ["openid", "offline_access"],
            "prompt": "consent", "mfa_acr": ["urn:mfa"],
            "direct": {
                "id_tokens": True, "audiences": ["urn:gate"], "scopes": ["openid"],
            },
        }  # fmt: skip
        with running_gate(
            pg18,
            database,
            TASKS.replace("ISSUER", platform.issuer),
            people=(AUDITOR,),
            more={"oidc": [oidc]},
            secrets={"CORP_SECRET": CLIENT_SECRET},
        ) as gate:
            yield Outside(Setting(gate, pg18, database), provider, platform)
    pg18.drop_database(database)
