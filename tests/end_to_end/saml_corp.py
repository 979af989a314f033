"""A gate and two SimpleSAMLphps that know each other by their metadata, for tests of SAML."""

import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from taskgate.demo.gate import Person
from tests.end_to_end.conftest import Setting
from tests.gates import running_gate
from tests.patience import PATIENCE_S
from tests.recorded import recorded_text
from tests.saml_provider.running import Browser, RealProvider, real_provider
from tests.servers import Server, Servers

MFA = "https://refeds.org/profile/mfa"
ROOT = Path(__file__).parents[2]
ADMIN = Person("admin", "offboards", ("admins",))
TASKS = """
kind: Task
name: report
resource: target
for: {groups: [corp/analysts]}
permit: [{select: [shop.orders]}]
---
kind: Task
name: strong
resource: target
for: {groups: [corp/analysts]}
sign_in: {mfa: true}
permit: [{select: [shop.orders]}]
---
kind: Role
name: admins
for: {groups: [admins]}
may: [administer, offboard]
"""


@dataclass(frozen=True, slots=True)
class Corp:
    """A gate and a real provider that know each other by their metadata."""

    setting: Setting
    provider: RealProvider
    portal: RealProvider

    @property
    def url(self) -> str:
        return self.setting.gate.own.url

    @property
    def ca_file(self) -> str:
        return str(self.setting.gate.own.ca_file)

    def browser(self) -> Browser:
        return Browser(self.ca_file)

    def api(self, token: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        trusting = ssl.create_default_context(cafile=self.ca_file)
        return httpx.Client(
            base_url=self.url, verify=trusting, headers=headers, trust_env=False,
            timeout=PATIENCE_S,
        )  # fmt: skip

    def cli(self, who: str, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        own = self.setting.gate.own
        opened = own.directory / f"browser-{who}"
        opened.write_text(
            f"#!/bin/sh\nexec {sys.executable} -m tests.saml_provider.browser"
            f' {who.partition("-")[0]} {self.ca_file} "$1"\n'
        )
        opened.chmod(0o700)
        environment = own.surroundings(who) | {
            "TASKGATE_SERVER": own.url, "TASKGATE_CA": self.ca_file,
            "PYTHONPATH": str(ROOT), "BROWSER": str(opened), **more,
        }  # fmt: skip
        return subprocess.run(
            [*own.program, *arguments], capture_output=True, text=True, check=False,
            timeout=90, env=environment,
        )  # fmt: skip

    def events(self) -> str:
        return recorded_text(self.setting.gate.own.recordings)


@contextmanager
def corp_gate(pg18: Server, servers: Servers) -> Iterator[Corp]:
    database = pg18.new_database("saml", template=servers.shop(pg18))
    with real_provider() as provider, real_provider() as portal:
        providers = [
            entry("corp", provider, metadata_certificate=str(provider.certificate), mfa_acr=[MFA]),
            entry("portal", portal, unsolicited=True, groups={"map": {"analysts": "readers"}}),
            # Nobody answers there, and the gateway starts all the same.
            {"name": "gone", "entity_id": "urn:gone", "metadata": "http://127.0.0.1:1/metadata"},
        ]
        with running_gate(pg18, database, TASKS, people=(ADMIN,), more={"saml": providers}) as gate:
            found = Corp(Setting(gate, pg18, database), provider, portal)
            for name, one in (("corp", provider), ("portal", portal)):
                with found.api() as api:
                    metadata = api.get(f"/saml/{name}/metadata")
                assert metadata.headers["content-type"] == "application/samlmetadata+xml"
                one.knows(metadata.content)
            # SimpleSAMLphp would sign assertions for us whatever a test sets.
            asks = b' WantAssertionsSigned="true"'
            with found.api() as api:
                metadata = api.get("/saml/corp/metadata")
            assert asks in metadata.content
            provider.knows(metadata.content.replace(asks, b""))
            yield found
    pg18.drop_database(database)


def entry(name: str, provider: RealProvider, **more: object) -> dict[str, object]:
    return {"name": name, "entity_id": provider.entity_id, "metadata": provider.metadata_url} | more
