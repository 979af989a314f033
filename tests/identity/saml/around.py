"""One gateway's side of SAML on a real store, with a provider of the tests' own."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from taskgate.identity.oidc.refusals import TokenRefused
from taskgate.identity.oidc.sealing import Sealer
from taskgate.identity.oidc.settings import GroupMapping
from taskgate.identity.saml.logout import Logouts
from taskgate.identity.saml.provider import SamlProviders
from taskgate.identity.saml.settings import OwnKey, SamlSettings
from taskgate.identity.saml.sign_in import SamlSignIns, Sent, SignedIn
from taskgate.store.open import Store
from tests.identity.clocks import SteppedClock
from tests.identity.saml.issuing import BASE, ENTITY, Idp, key, message_in, posted, relay_in
from tests.saml_provider.keys import certificate_of
from tests.store.places import Place

SEALING_KEY = b"k" * 32
OWN = 3


def settings_for(metadata: "Path | str", **changed: Any) -> SamlSettings:
    made = SamlSettings(
        "corp", ENTITY, metadata, groups=GroupMapping(("groups",), "corp/"), sign_in_s=3600.0
    )
    return replace(made, **changed)


@dataclass(frozen=True, slots=True)
class Asked:
    """A sign-in that a browser began: the request's ID, and what the browser keeps."""

    request: str
    relay: str
    cookie: str


@dataclass(frozen=True, slots=True)
class Around:
    """`idp` on one side, `sign_ins` on the other."""

    idp: Idp
    providers: SamlProviders
    sign_ins: SamlSignIns
    logouts: Logouts
    store: Store
    clock: SteppedClock

    async def ask(self) -> Asked:
        """A browser begins a sign-in of the console's."""
        sent = await self.sign_ins.start_console("corp", "/console/grants")
        return Asked(message_in(sent.url).get("ID", ""), relay_in(sent.url), sent.cookie)

    async def arrive(self, asked: Asked, data: bytes) -> Sent:
        return await self.sign_ins.arrive("corp", posted(data), asked.relay, asked.cookie)

    async def finish(self, asked: Asked, data: bytes) -> SignedIn:
        """Who that response signs in."""
        sent = await self.arrive(asked, data)
        code = parse_qs(urlsplit(sent.url).query)["code"][0]
        return await self.sign_ins.finish_console(code, sent.cookie)

    async def refusal(self, asked: Asked, data: bytes) -> str:
        """Why that response signs nobody in; outside it is always told in the same words."""
        with pytest.raises(TokenRefused) as caught:
            await self.arrive(asked, data)
        assert str(caught.value) == str(TokenRefused("anything"))
        return caught.value.why


@asynccontextmanager
async def around(
    place: Place, folder: Path, clock: SteppedClock | None = None, **changed: Any
) -> AsyncIterator[Around]:
    """A node; two of them may share a place and a clock."""
    clock = clock or SteppedClock(float(int(time.time())))
    idp = Idp(clock.now)
    path = folder / "idp.xml"
    if not path.exists():
        path.write_bytes(idp.metadata())
    async with place.open() as store:
        own = OwnKey(key(OWN), certificate_of(key(OWN)))
        providers = SamlProviders([settings_for(path, **changed)], own, BASE, clock)
        await providers.prepare()
        sealer = Sealer(SEALING_KEY)
        sign_ins = SamlSignIns(providers, sealer, store.once, BASE, clock, console=True)
        logouts = Logouts(providers, sealer, store.once, clock)
        yield Around(idp, providers, sign_ins, logouts, store, clock)
        await providers.close()
