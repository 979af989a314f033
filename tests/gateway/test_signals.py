"""Logs and metrics: what they tell, and what they never tell."""

import io
import json
import logging
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import structlog

from taskgate.gateway.logs import HIDDEN, redact_text, set_up_logs
from taskgate.gateway.signals import Signals, readiness
from taskgate.identity.tokens import TokenKind, new_token

TOKENS = [new_token(kind)[0] for kind in TokenKind]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    set_up_logs("info", "json", out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        *((f"token {token} was sent", token) for token in TOKENS),
        ("Authorization: Bearer abcdefgh12345678", "abcdefgh12345678"),
        ("authorization: basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA"),
        ("connect postgresql+asyncpg://tg:hunter2@db:5432/tg failed", "hunter2"),
        ("redis://:hunter2@cache", "hunter2"),
        ("jwt eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2ln", "eyJzdWIi"),
        ("password=hunter2 host=db", "hunter2"),
        ("PASSWORD 'x' password: \"hun ter2\"", "hun ter2"),
        ("{'password': 'hunter2'}", "hunter2"),
        (
            "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----",
            "MHcCAQEE",
        ),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEE", "MHcCAQEE"),
    ],
    # The tokens are new each time, and names of tests must not be.
    ids=map(str, count()),
)
def test_what_looks_like_a_secret_is_hidden_wherever_it_stands(text: str, secret: str) -> None:
    assert secret not in redact_text(text)
    assert HIDDEN in redact_text(text)


def test_plain_words_stay_as_they_are() -> None:
    text = "grant g-tnr1c0h4rnptw of local:ann for https://gate.example.com:8443/x?a=b ended"
    assert redact_text(text) == text


def test_secrets_are_hidden_by_key_at_any_depth_and_in_exceptions(stream: io.StringIO) -> None:
    log = structlog.get_logger("test")
    log.info("a", password="hunter2", token="x", nested={"api_key": "hunter2", "ok": ["y"]})
    try:
        raise ValueError(f"bad {TOKENS[0]} and password=hunter2")
    except ValueError:
        log.exception("b")
    logging.getLogger("library").warning("sent %s", TOKENS[1])
    lines = stream.getvalue().splitlines()
    assert all(secret not in stream.getvalue() for secret in ("hunter2", *TOKENS))
    assert [json.loads(line)["event"] for line in lines[:2]] == ["a", "b"]
    assert json.loads(lines[0])["nested"] == {"api_key": HIDDEN, "ok": ["y"]}


def test_a_line_of_the_log_stays_one_line_and_moves_no_cursor(stream: io.StringIO) -> None:
    structlog.get_logger("test").info("a", who='x\n{"event": "forged"}\x1b[2J\u202e')
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()
    out = io.StringIO()
    set_up_logs("info", "console", out)
    structlog.get_logger("other").info("a", who="x\x1b[2J\u202e")
    assert "\x1b" not in out.getvalue()
    assert "\u202e" not in out.getvalue()


def test_metrics_count(stream: io.StringIO) -> None:
    signals = Signals()
    signals.session_opened("postgres")
    for outcome in ("permit", "permit", "deny", "hold"):
        signals.request(outcome)
    signals.login_failed("api")
    signals.api_answered(404)
    text = signals.text().decode()
    assert 'taskgate_requests_total{outcome="permit"} 2.0' in text
    assert 'taskgate_requests_total{outcome="deny"} 1.0' in text
    assert 'taskgate_sessions{protocol="postgres"} 1.0' in text
    assert 'taskgate_login_failures_total{door="api"} 1.0' in text
    assert 'taskgate_api_requests_total{status="4xx"} 1.0' in text
    signals.session_closed("postgres")
    assert 'taskgate_sessions{protocol="postgres"} 0.0' in signals.text().decode()


def test_two_gateways_in_one_process_count_apart() -> None:
    one, other = Signals(), Signals()
    one.request("deny")
    assert 'outcome="deny"} 0.0' in other.text().decode()


def test_the_operating_guide_lists_every_metric() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
    names = {metric.name for metric in Signals().registry.collect()}
    ours = {name for name in names if name.startswith("taskgate_")}
    assert ours, "there are some"
    missing = {name for name in ours if f"`{name}`" not in guide and f"`{name}_total`" not in guide}
    assert missing == set()


async def test_readiness_names_what_is_wrong() -> None:
    async def fine() -> None: ...

    async def broken() -> None:
        raise OSError("disk full")

    found = await readiness({"store": fine, "recording": broken})
    assert not found.ready
    assert found.faults == {"recording": "disk full"}
    assert (await readiness({"store": fine})).ready
