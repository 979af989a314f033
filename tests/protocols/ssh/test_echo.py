"""Which typed keys count as echoed. K: keys go to the host; O: the host shows something."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskgate.model.limits import MAX_TYPED_LINE_BYTES
from taskgate.protocols.ssh.echo import Echo, Typed

Steps = list[tuple[str, bytes]]


def played(steps: Steps) -> list[tuple[bytes, int]]:
    echo, done = Echo(), []
    for kind, data in steps:
        done += echo.typed(data) if kind == "K" else echo.shown(data)
    done += echo.ended()
    return [(line.text, line.hidden) for line in done]


def one_by_one(text: bytes) -> Steps:
    """Typed by a person before a shell that repeats each key."""
    return [step for key in text for step in (("K", bytes((key,))), ("O", bytes((key,))))]


@pytest.mark.parametrize(
    ("steps", "kept"),
    [
        ([*one_by_one(b"ls -l"), ("K", b"\r")], [(b"ls -l", 0)]),
        ([("K", b"ls\r"), ("O", b"ls\r\nout\r\n")], [(b"ls", 0)]),
        ([("K", b"a\rb\r"), ("O", b"a\r\nb\r\n")], [(b"a", 0), (b"b", 0)]),
        # A prompt in colours, an echo that is painted.
        ([("O", b"\x1b[1m$ \x1b[0m"), ("K", b"l"), ("O", b"\x1b[32ml\x1b[0m"), ("K", b"\r")],
         [(b"l", 0)]),
        # Erased again; a tab's completion is the host's.
        ([*one_by_one(b"lx"), ("K", b"\x7f"), ("O", b"\b\x1b[K"), *one_by_one(b"s"), ("K", b"\r")],
         [(b"ls", 1)]),
        ([*one_by_one(b"cat f"), ("K", b"\t"), ("O", b"ile "), ("K", b"\r")], [(b"cat f", 1)]),
        ([*one_by_one("caf\u00e9".encode()), ("K", b"\x7f"), ("K", b"\r")], [(b"caf", 1)]),
        # At the edge of the screen.
        ([("K", b"null x\r"), ("O", b"nul\rll x\r\n")], [(b"null x", 0)]),
        # Given up.
        ([*one_by_one(b"rm"), ("K", b"\x03"), ("O", b"^C\r\n")], [(b"rm", 0)]),
        # Passwords: nothing comes back, stars come back, something else comes back.
        ([("K", b"secret\r"), ("O", b"\r\nok")], [(b"", 7)]),
        ([("K", b"s"), ("O", b"*"), ("K", b"e"), ("O", b"*"), ("K", b"\r"), ("O", b"\r\n")],
         [(b"", 3)]),
        ([("K", b"secret\r"), ("O", b"sec\r\n")], [(b"", 7)]),
        ([("K", b"secret")], [(b"", 6)]),
        # One key that was not shown hides the whole line, and the next line is itself again.
        ([*one_by_one(b"ab"), ("K", b"c"), ("O", b"*"), ("K", b"d\r"), ("O", b"\r\n$ "),
          *one_by_one(b"ok"), ("K", b"\r")], [(b"", 5), (b"ok", 0)]),
        # Typed ahead, before the prompt for the password.
        ([("K", b"sudo\rsecret\r"), ("O", b"sudo\r\nPassword: "), ("O", b"\r\n")],
         [(b"sudo", 0), (b"", 7)]),
        # Arrows and other keys are counted.
        ([("K", b"\x1b[A"), ("O", b"ls"), ("K", b"\r")], [(b"", 3)]),
        ([("K", b"\r"), ("O", b"\r\n")], []),
    ],
)  # fmt: skip
def test_lines(steps: Steps, kept: list[tuple[bytes, int]]) -> None:
    assert played(steps) == kept
    bytewise = [(kind, bytes((byte,))) for kind, data in steps for byte in data]
    assert played(bytewise) == kept


@given(
    st.text("abc123", min_size=4, max_size=12),
    st.lists(st.one_of(st.binary(max_size=6), st.text("abc123", max_size=3).map(str.encode))),
    st.binary(max_size=20),
)
def test_no_part_of_what_was_not_echoed_is_kept(
    secret: str, noise: list[bytes], before: bytes
) -> None:
    # Whatever a host shows meanwhile, but for the whole secret itself.
    steps: Steps = [("O", before)]
    for at, key in enumerate(secret.encode()):
        steps.append(("K", bytes((key,))))
        if at < len(noise) and secret.encode() not in b"".join(noise):
            steps.append(("O", noise[at]))
    steps += [("K", b"\r"), ("O", b"\r\n")]
    shown = b"".join(data for kind, data in steps if kind == "O")
    spread = all(byte in shown for byte in secret.encode())
    assert spread or all(not line for line, _ in played(steps))


@given(st.lists(st.tuples(st.sampled_from("KO"), st.binary(max_size=30))))
def test_every_key_is_kept_or_counted(steps: Steps) -> None:
    kept = played(steps)
    assert all(text or hidden for text, hidden in kept)
    ends = sum(data.count(bytes((end,))) for k, data in steps if k == "K" for end in range(32))
    keys = sum(len(data) for kind, data in steps if kind == "K")
    told = sum(len(text) + hidden for text, hidden in kept)
    erased = sum(data.count(b"\x7f") + data.count(b"\x08") for k, data in steps if k == "K")
    assert told <= keys
    assert told >= keys - ends - 5 * erased


@pytest.mark.cap("MAX_TYPED_LINE_BYTES")
def test_a_long_line_is_counted_and_not_kept() -> None:
    echo = Echo()
    done = echo.typed(b"x" * (3 * MAX_TYPED_LINE_BYTES))
    done += echo.ended()
    assert {line.text for line in done} == {b""}
    assert sum(line.hidden for line in done) == 3 * MAX_TYPED_LINE_BYTES
    assert isinstance(done[0], Typed)
