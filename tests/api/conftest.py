"""One running gateway for all tests of this folder that only read or add."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.api.gate import Gate, start_gate


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    running = asyncio.run(start_gate(tmp_path_factory.mktemp("gate")))
    yield running
    running.stop()


@pytest.fixture
def own_gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gateway for one test alone, which may break it."""
    running = asyncio.run(start_gate(tmp_path_factory.mktemp("own")))
    yield running
    running.stop()
