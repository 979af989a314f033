"""What /metrics says of a real gateway's traffic, against what went through it."""

import ssl
import time
from urllib.request import urlopen

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.conftest import Setting
from tests.patience import PATIENCE_S, eventually

EMAILS = "SELECT email FROM shop.customers ORDER BY id LIMIT 7"


def metrics(setting: Setting) -> dict[str, float]:
    """Each sample by its name, with its labels' values behind it."""
    own = setting.gate.own
    context = ssl.create_default_context(cafile=own.ca_file)
    with urlopen(f"{own.url}/metrics", context=context, timeout=PATIENCE_S) as answer:
        text = answer.read().decode()
    return {
        " ".join((sample.name, *sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def risen(setting: Setting, before: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in metrics(setting).items()}


def test_every_request_is_counted_and_timed(setting: Setting) -> None:
    # Nobody has asked this yet: its text is new to the gate.
    query = f"{EMAILS} -- {time.monotonic_ns()}"
    before = metrics(setting)
    with setting.connect("report") as connection:
        for _ in range(3):
            assert len(connection.execute(query).fetchall()) == 7
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM shop.orders")
    rose = risen(setting, before)
    assert rose["taskgate_requests_total permit"] == 3
    assert rose["taskgate_requests_total deny"] == 1
    assert rose["taskgate_masked_values_total"] == 21
    assert rose["taskgate_decision_seconds_count"] == 4
    assert rose["taskgate_request_seconds_count"] == 3
    # One more where names grew too old between two of the three.
    assert rose["taskgate_decision_cache_total miss"] in (2, 3)
    assert rose["taskgate_decision_cache_total hit"] >= 1
    assert rose["taskgate_bytes_total to_resource"] > len(query)
    assert rose["taskgate_bytes_total to_client"] > 3 * 7 * len("a@b.c")
    assert 0 < rose["taskgate_decision_seconds_sum"] < 60
    assert 0 < rose["taskgate_request_seconds_sum"] < 60
    assert rose["taskgate_upstream_errors_total"] == 0
    assert rose["taskgate_recording_errors_total"] == 0
    assert rose["taskgate_internal_errors_total"] == 0


def test_a_histogram_s_buckets_add_up(setting: Setting) -> None:
    before = metrics(setting)
    with setting.connect("everything") as connection:
        connection.execute("SELECT pg_sleep(0.3)")
        connection.execute("SELECT 1")
    rose = risen(setting, before)
    assert rose["taskgate_request_seconds_bucket +Inf"] == 2
    assert rose["taskgate_request_seconds_bucket 0.25"] <= 1
    assert rose["taskgate_request_seconds_sum"] >= 0.29


def test_bulk_is_counted_byte_by_byte_and_masked_whole(setting: Setting) -> None:
    query = "SELECT n, email FROM shop.customers, generate_series(1, 400) n ORDER BY n, id"
    before = metrics(setting)
    with setting.connect("report") as connection:
        rows = connection.execute(query).fetchall()
    rose = risen(setting, before)
    real = setting.behind("SELECT count(email) FROM shop.customers")
    assert len(rows) == 400 * int(real)
    assert rose["taskgate_masked_values_total"] == len(rows)
    # All rounds show the same customers in the same order.
    once = [email for n, email in rows if n == 1]
    assert [email for _, email in rows] == once * 400
    body = sum(len(str(email)) for _, email in rows)
    assert rose["taskgate_bytes_total to_client"] > body


def test_a_resource_that_is_lost_is_counted(setting: Setting) -> None:
    before = metrics(setting)
    with setting.connect("everything") as connection:
        found = connection.execute("SELECT pg_backend_pid()").fetchone()
        assert found is not None
        setting.behind(f"SELECT pg_terminate_backend({found[0]})")
        eventually(lambda: risen(setting, before)["taskgate_upstream_errors_total"])
    assert risen(setting, before)["taskgate_upstream_errors_total"] == 1
