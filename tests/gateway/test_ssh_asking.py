"""How many connections may wait for people who sign in by a browser."""

from typing import cast

import pytest

from taskgate.gateway.outside import Events
from taskgate.gateway.ssh_asking import DeviceSignIns
from taskgate.identity.oidc.sign_in import SignIns
from taskgate.model.clock import Clock
from taskgate.model.errors import OverLimit
from taskgate.model.limits import (
    MAX_DEVICE_SIGN_INS,
    MAX_DEVICE_SIGN_INS_PER_SOURCE,
    MAX_DEVICE_SIGN_INS_PER_SOURCE_PER_MIN,
)


def device() -> DeviceSignIns:
    # Time stands still: a minute's worth comes back with it.
    return DeviceSignIns(cast(SignIns, None), cast(Events, None), Clock(lambda: 0.0, lambda: 0.0))


@pytest.mark.cap("MAX_DEVICE_SIGN_INS_PER_SOURCE")
def test_of_one_source() -> None:
    found = device()
    for _ in range(MAX_DEVICE_SIGN_INS_PER_SOURCE):
        found.enter("192.0.2.1")
    with pytest.raises(OverLimit, match="too many sign-ins by a browser"):
        found.enter("192.0.2.1")
    found.enter("192.0.2.2")
    found.leave("192.0.2.1")
    found.enter("192.0.2.1")


@pytest.mark.cap("MAX_DEVICE_SIGN_INS")
def test_of_one_node() -> None:
    found = device()
    for number in range(MAX_DEVICE_SIGN_INS):
        found.enter(f"192.0.2.{number}")
    assert found.waiting == MAX_DEVICE_SIGN_INS
    with pytest.raises(OverLimit):
        found.enter("198.51.100.1")
    found.leave("192.0.2.7")
    found.enter("198.51.100.1")


@pytest.mark.cap("MAX_DEVICE_SIGN_INS_PER_SOURCE_PER_MIN")
def test_begun_by_one_source_in_a_minute() -> None:
    found = device()
    for _ in range(MAX_DEVICE_SIGN_INS_PER_SOURCE_PER_MIN):
        found.enter("192.0.2.1")
        found.leave("192.0.2.1")
    with pytest.raises(OverLimit):
        found.enter("192.0.2.1")
    assert found.waiting == 0
