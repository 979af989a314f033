"""An honest issuer, and a gate's view of it."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from taskgate.identity.oidc.provider import Providers
from taskgate.identity.oidc.settings import DirectTokens, GroupMapping, ProviderSettings
from taskgate.model.clock import Clock
from tests.identity.oidc.issuing import Issuing, ec_key, ed_key, issuing, rsa_key

Known = Callable[..., Providers]


@pytest.fixture(scope="session")
def session_keys() -> tuple[Any, ...]:
    """RSA keys take their time to make."""
    return rsa_key("one"), ec_key("ec"), ed_key("ed")


@pytest.fixture
def there(session_keys: tuple[Any, ...]) -> Iterator[Issuing]:
    with issuing(*session_keys) as running:
        yield running


def settings_for(issuer: str, **changed: Any) -> ProviderSettings:
    found: dict[str, Any] = {
        "name": "corp",
        "issuer": issuer,
        "client_id": "gate",
        "groups": GroupMapping(prefix="corp/"),
        "direct": DirectTokens(id_tokens=True, audiences=frozenset({"urn:gate"})),
    }
    return ProviderSettings(**(found | changed))


@pytest.fixture
async def providers(there: Issuing) -> AsyncIterator[Providers]:
    made = Providers([settings_for(there.issuer)], Clock())
    yield made
    await made.close()
