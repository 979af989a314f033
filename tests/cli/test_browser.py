"""The loopback address that a sign-in comes back to: nothing but the right answer ends it."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from taskgate.cli.browser import Landing
from taskgate.cli.exits import Stop
from tests.patience import PATIENCE_S


@pytest.fixture
def landing() -> Iterator[Landing]:
    made = Landing()
    yield made
    made.close()


def get(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_only_the_right_state_ends_the_wait(landing: Landing) -> None:
    statuses = []

    def browse() -> None:
        base = landing.redirect
        for url in (
            base, f"{base}?code=evil", f"{base}?code=evil&state=wrong", f"{base}?code=evil&state=",
            f"{base}?code=evil&state=right&state=right", f"{base}/x?code=evil&state=right",
            base.replace("/callback", "/favicon.ico"),
            f"{base}?code=c1&state=right&iss=https%3A//x",
        ):  # fmt: skip
            statuses.append(get(url))

    thread = threading.Thread(target=browse)
    thread.start()
    returned = landing.wait("right", PATIENCE_S)
    thread.join()
    assert (returned.code, returned.iss) == ("c1", "https://x")
    assert statuses == [400, 400, 400, 400, 400, 404, 404, 200]


def test_a_refusal_is_said(landing: Landing) -> None:
    url = f"{landing.redirect}?error=access_denied%1b[31m&state=right"
    thread = threading.Thread(target=get, args=(url,))
    thread.start()
    with pytest.raises(Stop, match="access_denied31m"):
        landing.wait("right", PATIENCE_S)
    thread.join()


def test_nobody_comes(landing: Landing) -> None:
    began = time.monotonic()
    with pytest.raises(Stop, match="nobody signed in"):
        landing.wait("right", 0.2)
    assert time.monotonic() - began < PATIENCE_S


def test_it_listens_on_loopback_only(landing: Landing) -> None:
    assert landing.redirect.startswith("http://127.0.0.1:")
    assert landing._server.server_address[0] == "127.0.0.1"
