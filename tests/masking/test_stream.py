import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskgate.masking.content import KindMasker
from taskgate.masking.detectors import KINDS
from taskgate.masking.stream import SLOW_S, BinaryStream, StreamMasker
from taskgate.model.limits import MAX_MASKED_LINE_BYTES
from taskgate.model.masks import KindMask, Transform, TransformKind
from tests.masking.samples import JWT, PEM, SECRETS

QUICK_S = 0.1
CARD = "4111111111111111"


def stream(
    *kinds: str, how: TransformKind = TransformKind.REDACT, terminal: bool = True
) -> StreamMasker:
    masks = [KindMask(kind, Transform(how), f"task/{kind}") for kind in kinds or KINDS]
    masker = KindMasker(masks, b"k" * 16)
    return StreamMasker(masker, quick_s=QUICK_S, terminal=terminal)


def at_once(*reads: bytes, kinds: tuple[str, ...] = ()) -> bytes:
    """What comes out where no time passes."""
    one = stream(*kinds)
    return b"".join(one.feed(read, 0.0) for read in reads) + one.end()


def in_time(*reads: tuple[float, bytes], kinds: tuple[str, ...] = ()) -> list[tuple[float, bytes]]:
    """What comes out when: each read at its time, each deadline kept."""
    one, shown = stream(*kinds), []
    for at, read in (*reads, (1e9, b"")):
        while one.due is not None and one.due <= at:
            due = one.due
            shown.append((due, one.tick(due)))
        shown.append((at, one.feed(read, at) if read else one.end()))
    return [(at, data) for at, data in shown if data]


# (as it comes, as it is shown)
LINES = [
    ("plain text\n", "plain text\n"),
    (f"card {CARD} end\n", "card [masked:credit_card] end\n"),
    (f"card {CARD}", "card [masked:credit_card]"),
    ("4111 \x1b[31m1111\x1b[0m 1111 1111\r\n", "[masked:credit_card]\x1b[31m\x1b[0m\r\n"),
    ("4111\x1b[1C1111\x1b[1C1111\x1b[1C1111\n", "[masked:credit_card]\n"),
    ("4111\x1b[5;9H111111111111\n", "[masked:credit_card]\n"),
    ("41119\b111\x1b]0;title\x07111111111\n", "[masked:credit_card]\n"),
    (
        "4\b41\b11\b11\b11\b11\b11\b11\b11\b11\b11\b11\b11\b11\b11\b11\b1\n",
        "4\b[masked:credit_card]\n",
    ),
    ("XXXX111111111111\r4111\n", "XXXX[masked:credit_card]\n"),
    ("4111\x00111111111111\n", "[masked:credit_card]\n"),
    ("4111\u200b1111\u20111111\u20111111\n", "[masked:credit_card]\n"),
    ("\uff14\uff11\uff11\uff11" * 1 + "\uff11" * 12 + "\n", "[masked:credit_card]\n"),
    ("41\x1b[b\x1b[13b\n", "[masked:credit_card]\x1b[b\x1b[13b\n"),
    ("\x1b]0;jane@example.com\x07$ ", "\x1b]0;[masked:email]\x07$ "),
    ("jane\x1b[1m@example\x1b[m.com\n", "[masked:email]\x1b[1m\x1b[m\n"),
    (f"a\n{PEM}\nb\n", "a\n[masked:private_key]\nb\n"),
    (f"{PEM}{PEM}\n", "[masked:private_key]" * 2 + "\n"),
    (f"x={PEM} y {CARD}\n", "x=[masked:private_key] y [masked:credit_card]\n"),
    (PEM.replace("\n", "\r\n\x1b[32m") + "\r\nb\n", "[masked:private_key]\r\nb\n"),
    (f"{JWT}\n{JWT}\n", "[masked:jwt]\n[masked:jwt]\n"),
    *((f"one {value}\ntwo\n", f"one [masked:{kind}]\ntwo\n") for kind, value in SECRETS.items()),
]


@pytest.mark.parametrize(("given_", "shown"), LINES)
def test_a_line_is_shown_masked_however_it_is_cut(given_: str, shown: str) -> None:
    data = given_.encode()
    assert at_once(data) == shown.encode()
    for at in range(len(data)):
        assert at_once(data[:at], data[at:]) == shown.encode(), at
    assert at_once(*(data[at : at + 1] for at in range(len(data)))) == shown.encode()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(list(SECRETS.values())),
            st.sampled_from(["\n", "\r\n", "\r", "\b", " ", "\x1b[31m", "\x1b[0m", "\x1b[2C", "é"]),
            st.text("0123456789abc@.-: \n", max_size=30),
        ),
        max_size=30,
    ),
    st.integers(0, 2**32),
)
def test_the_cuts_between_reads_change_nothing(pieces: list[str], seed: int) -> None:
    data, cut = "".join(pieces).encode(), random.Random(seed)
    reads, at = [], 0
    while at < len(data):
        end = at + cut.choice((1, 2, 5, 20, 200))
        reads.append(data[at:end])
        at = end
    assert at_once(*reads) == at_once(data)


@given(st.binary(max_size=300), st.integers(0, 300))
def test_bytes_that_are_no_utf8_pass_as_they_are(data: bytes, at: int) -> None:
    kinds = ("private_key",)
    assert at_once(data[:at], data[at:], kinds=kinds) == data


def test_a_prompt_waits_no_longer_than_its_bound() -> None:
    assert in_time((0.0, b"$ ")) == [(QUICK_S, b"$ ")]
    assert in_time((0.0, b"user@host:~$ ")) == [(QUICK_S, b"user@host:~$ ")]
    assert in_time((0.0, b"a line\n")) == [(0.0, b"a line\n")]


def test_a_second_half_that_comes_late_is_hidden() -> None:
    shown = in_time((0.0, b"to jane"), (5.0, b"@example.com "), (6.0, b"bye\n"))
    assert b"".join(data for _, data in shown) == b"to jane[masked:email] bye\n"
    one = stream()
    one.feed(b"to jane", 0.0)
    one.tick(1.0)
    one.feed(b"@example.com\n", 2.0)
    assert one.in_part == {"email": 1}


@pytest.mark.parametrize("pause", [0.05, 0.15, 1.0, 3.0, 60.0])
@pytest.mark.parametrize(
    ("value", "most"),
    [
        ("4012888888881881", "401288"),
        ("4012 8888 8888 1881", "4012 88"),
        ("jane@example.com", "jane@"),
        (JWT, JWT[:9]),
        ("DE89370400440532013000", "DE89"),
        ("219-09-9999", "219-"),
        ("+49 30 901820", "+49 30 9"),
        ("203.0.113.77", "203.0."),
        (SECRETS["cloud_key"], "AKIA"),
        (PEM, "-----BEGIN RSA PRIVATE KEY-----"),
        ("４０１２８８８８８８８８１８８１", "４０１２８８"),
    ],
)
def test_a_value_that_drips_is_never_shown_whole(value: str, most: str, pause: float) -> None:
    letters = [letter.encode() for letter in f"{value}\n"]
    shown = in_time(*((at * pause, letter) for at, letter in enumerate(letters)))
    said = b"".join(data for _, data in shown).decode()
    before = said.partition("[masked")[0]
    assert "[masked" in said
    assert most.startswith(before), said
    assert said.endswith("]\n"), said


def test_nothing_waits_for_ever() -> None:
    digits = "1234567890"
    shown = in_time((0.0, f"code {digits}".encode()), kinds=("credit_card",))
    assert shown[0] == (QUICK_S, b"code 123456")
    assert shown[1] == (QUICK_S + SLOW_S, b"[masked:credit_card]")
    # It goes on as no card: what is hidden stays so, the rest is shown.
    later = in_time((0.0, f"code {digits}".encode()), (0.5, b"x\n"), kinds=("credit_card",))
    assert b"".join(data for _, data in later) == f"code {digits}x\n".encode()


def test_a_half_hidden_value_keeps_nothing_by_its_transform() -> None:
    one = stream("credit_card", how=TransformKind.PARTIAL)
    got = one.feed(CARD[:12].encode(), 0.0) + one.tick(1.0) + one.tick(9.0)
    got += one.feed(CARD[12:].encode() + b"\n", 10.0)
    assert got == b"411111[masked:credit_card]\n"


def test_a_key_is_hidden_to_its_end_in_constant_memory() -> None:
    one = stream(terminal=False)
    begin, end = PEM.splitlines()[0], PEM.splitlines()[-1]
    got = one.feed(f"a\n{begin}\n".encode(), 0.0)
    line = b"MIIEowIBAAKC" * 6 + b"\n"
    for number in range(2_000):
        got += one.feed(line if number % 7 else b"words, and more\n", number / 10)
        if one.due is not None:
            got += one.tick(one.due)
        assert len(one._line) <= 2 * MAX_MASKED_LINE_BYTES
    got += one.feed(f"{end}\nb\n".encode(), 1e4) + one.end()
    assert got == b"a\n[masked:private_key]\nb\n"


def test_at_a_terminal_a_key_that_was_cut_off_ends_at_the_prompt() -> None:
    head = "\r\n".join([PEM.splitlines()[0], "MIIEowIBAAKCAQEA" * 4, ""])
    shown = in_time((0.0, head.encode()), (1.0, b"tg@host:~$ "), (2.0, b"ls\r\nfile\r\n"))
    said = b"".join(data for _, data in shown)
    assert said == b"[masked:private_key]tg@host:~$ ls\r\nfile\r\n"


@pytest.mark.cap("MAX_MASKED_LINE_BYTES")
def test_a_line_of_any_length_is_masked_and_not_kept() -> None:
    one, sent, got = stream("credit_card", "email", "jwt"), b"", b""
    filler = "word and word, " * 100
    for number in range(400):
        piece = f"{filler}{CARD} no {number}, jane@example.com;".encode()
        sent += piece
        got += one.feed(piece, 0.0)
        assert len(one._line) <= MAX_MASKED_LINE_BYTES
    got += one.end()
    wanted = sent.replace(CARD.encode(), b"[masked:credit_card]")
    assert got == wanted.replace(b"jane@example.com", b"[masked:email]")
    assert at_once(sent, kinds=("credit_card", "email", "jwt")) == got


def test_a_token_longer_than_what_is_kept_is_hidden_whole() -> None:
    head, body, tail = JWT.split(".")
    token = f"{head}.{body * 10_000}.{tail}"
    data = f"a {token} b\n{token}\n".encode()
    assert at_once(data) == b"a [masked:jwt] b\n[masked:jwt]\n"
    assert at_once(*(data[at : at + 999] for at in range(0, len(data), 999))) == at_once(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b\x08rest",
        b"PK\x03\x04",
        b"text\0more",
        bytes(range(256)),
        b"\x89PNG\r\n",
        b"\x7fELF",
    ],
)
def test_what_is_no_text_is_refused_or_passes_whole(data: bytes) -> None:
    refused = stream(terminal=False)
    with pytest.raises(BinaryStream):
        _ = refused.feed(data, 0.0) + refused.end()
    masker = KindMasker([KindMask("credit_card", Transform(TransformKind.REDACT), "r")])
    passed = StreamMasker(masker, quick_s=QUICK_S, pass_binary=True)
    card = CARD.encode()
    assert passed.feed(data, 0.0) + passed.feed(card, 0.0) + passed.end() == data + card
    assert passed.binary


@pytest.mark.parametrize(
    "text", ["", "plain", "naïve café ü" * 50, "\x1b[31mred\x1b[m\r\n" * 90, "日本語\n" * 300]
)
def test_text_is_no_binary(text: str) -> None:
    one = stream(terminal=False)
    assert one.feed(text.encode(), 0.0) + one.end() == text.encode()
    other = stream(terminal=False)
    latin = "Füße und Äpfel in einem längeren Satz\n".encode("latin-1") * 40
    assert other.feed(latin, 0.0) + other.end() == latin


def test_a_zero_byte_later_on_is_no_text_either() -> None:
    one = stream(terminal=False)
    one.feed(b"text\n" * 200, 0.0)
    with pytest.raises(BinaryStream):
        one.feed(b"more\0", 0.0)
