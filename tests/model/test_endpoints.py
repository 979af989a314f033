"""One spelling for each host and port, and none for what could be another's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.endpoints import plain_host, spell_endpoint, split_endpoint


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("db.internal", "db.internal"),
        ("DB.Internal", "db.internal"),
        ("web_1", "web_1"),
        ("a-b.c-d", "a-b.c-d"),
        ("1.pool.example", "1.pool.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("10.0.0.5", "10.0.0.5"),
        ("::1", "::1"),
        ("::", "::"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("x" * 63 + ".a", "x" * 63 + ".a"),
    ],
)
def test_hosts(written: str, plain: str) -> None:
    assert plain_host(written) == plain
    assert plain_host(plain) == plain


@pytest.mark.parametrize(
    "written",
    [
        "", ".", "..", "db.internal.", ".internal", "a..b", "-a.b", "a-.b", "x" * 64,
        "a." * 130 + "a",
        "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.0.0.01",
        "127.0.0.256", "1.2.3.4.5", "0x", "10.0.0.0x5", "a.1", "a.0x1",
        "::ffff:127.0.0.1", "::127.0.0.1", "::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::",
        "2001::1", "fe80::1%eth0", "::1%1", "[::1]", "1::2::3", "12345::", ":",
        "b\u00fccher.example", "\u2488.0.0.1", "a b", "a\0b", "a\nb", "a/b", "a@b", "*", "a,b",
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_no_host(written: str) -> None:
    with pytest.raises(ValueError, match=r"host|address|xn--"):
        plain_host(written)


@pytest.mark.parametrize("port", [-1, 65_536, 65_536 + 22, 1 << 32])
def test_ports_that_are_none(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        spell_endpoint("a", port, any_port=True)
    with pytest.raises(ValueError, match="port"):
        spell_endpoint("a", 0)


def test_names_and_addresses_are_apart() -> None:
    assert split_endpoint("10.0.0.5:22") == ("address", "10.0.0.5", "22")
    assert split_endpoint("[::1]:22") == ("address", "::1", "22")
    assert split_endpoint("10.x:22") == ("name", "10.x", "22")
    assert split_endpoint("a:0") == ("name", "a", "0")


@given(st.text(alphabet="ab01x.:-_[]%fF*", max_size=20), st.integers(0, 70_000))
def test_what_is_spelled_is_read_back(host: str, port: int) -> None:
    try:
        plain = plain_host(host)
        spelled = spell_endpoint(plain, port)
    except ValueError:
        return
    assert split_endpoint(spelled)[1:] == (plain, str(port))
    # The system reads a plain address as that one and nothing else, a plain name as no address.
    assert plain_host(plain.upper()) == plain
